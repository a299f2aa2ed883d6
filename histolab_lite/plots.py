"""Figures for the lessons: tissue with masks over it, keys, scale bars, galleries.

Colours are those of the data set's palette. A key names each of them, so that no meaning rests on colour alone.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from sklearn.manifold import TSNE

from histolab_lite.data import IGNORE
from histolab_lite.formats.masks import Palette, colour_table


def style() -> None:
    """Set figure defaults for notebooks: plain axes, sharp enough to zoom, small enough to commit."""
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
        }
    )


def to_plane(embeddings: np.ndarray, method: str = "UMAP", seed: int = 0) -> np.ndarray:
    """Map embeddings (N, D) to points (N, 2) that keep their neighbours, by cosine distance.

    Parameters
    ----------
    embeddings : (N, D)
        One vector per point.
    method
        "UMAP" (McInnes et al., 2018) or "t-SNE" (van der Maaten and Hinton, JMLR 2008).
    seed
        Random seed of the method.

    Raises
    ------
    ValueError
        The method is neither.
    """
    if method == "UMAP":
        from umap import UMAP  # imported here, because the first import compiles for half a minute

        neighbours = min(20, len(embeddings) - 1)
        reducer = UMAP(n_neighbors=neighbours, min_dist=0.2, metric="cosine", random_state=seed, n_jobs=1)
    elif method == "t-SNE":
        reducer = TSNE(perplexity=min(30, (len(embeddings) - 1) / 3), metric="cosine", random_state=seed)
    else:
        raise ValueError(f'method must be "UMAP" or "t-SNE", not {method!r}.')
    return reducer.fit_transform(np.asarray(embeddings))


def class_colours(palette: Palette) -> np.ndarray:
    """Return the palette as matplotlib wants it, float (K, 3) in [0, 1], to be indexed by class ids."""
    return np.asarray(palette, dtype=float) / 255


def colour_mask(mask: np.ndarray, palette: Palette) -> np.ndarray:
    """Colour class ids (H, W), uint8 (H, W, 3); 255 and ids beyond the palette are mid-grey."""
    return colour_table(palette)[np.asarray(mask).astype(np.uint8)]


def overlay(image: np.ndarray, mask: np.ndarray, palette: Palette, opacity: float = 0.45) -> np.ndarray:
    """Lay class colours over an image, uint8 (H, W, 3); ignored pixels keep the colour of the image."""
    strength = np.where(np.asarray(mask) == IGNORE, 0, opacity)[..., None]
    return (image * (1 - strength) + colour_mask(mask, palette) * strength).round().astype(np.uint8)


def show(ax: Axes, image: np.ndarray, title: str = "", mpp: float | None = None) -> None:
    """Draw an image without axes, with a scale bar where mpp, in micrometres per pixel, is given."""
    ax.imshow(image)
    ax.set_axis_off()
    ax.set_title(title)
    if mpp:
        scale_bar(ax, image.shape[:2], mpp)


def scale_bar(ax: Axes, shape: tuple[int, int], mpp: float) -> None:
    """Draw a scale bar of a round length, at most a fifth of the width, in the image's lower right corner."""
    height, width = shape
    wanted = width * mpp / 5
    magnitude = 10 ** np.floor(np.log10(wanted))
    length = max(step * magnitude for step in (1, 2, 5) if step * magnitude <= wanted)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    bar, pad = length / mpp, width * 0.02
    plate = (width - bar - 3 * pad, height * 0.88)
    ax.add_patch(Rectangle(plate, bar + 2 * pad, height * 0.1, facecolor="black", alpha=0.65, linewidth=0))
    ax.add_patch(Rectangle((plate[0] + pad, height * 0.96), bar, height * 0.01, facecolor="white", linewidth=0))
    ax.text(plate[0] + pad + bar / 2, height * 0.95, text, color="white", ha="center", va="bottom", fontsize=7)


def key(figure: Figure, class_names: Sequence[str], palette: Palette) -> None:
    """Draw one key of class colours below the whole figure."""
    patches = [
        Patch(facecolor=np.array(colour) / 255, edgecolor="0.4", linewidth=0.5, label=name)
        for name, colour in zip(class_names, palette, strict=True)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 6))


def gallery(patches: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Join patches (P, P, 3) to one row with white gaps, uint8 (P, W, 3)."""
    if not len(patches):
        raise ValueError("there is no patch to show.")
    bar = np.full((patches[0].shape[0], gap, 3), 255, np.uint8)
    return np.concatenate([part for patch in patches for part in (patch, bar)][:-1], axis=1)


def dictionary_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
    columns: int = 2,
) -> Figure:
    """Draw a row of representative patches per cluster, as a person sees them who names the clusters.

    Parameters
    ----------
    rows
        Patches, uint8 (P, P, 3), per cluster; none for an empty cluster.
    names, colours
        One per cluster.
    columns
        Number of columns of the figure.

    Raises
    ------
    ValueError
        No cluster has a patch.
    """
    if not any(len(patches) for patches in rows):
        raise ValueError("no cluster has a patch to show.")
    lines = -(-len(rows) // columns)
    strip = gallery(max(rows, key=len)).shape
    width = 5.2
    figure, axes = plt.subplots(
        lines, columns, figsize=(columns * width, lines * (width * strip[0] / strip[1] + 0.22)), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, patches, name, colour in zip(axes.T.flat, rows, names, colours, strict=False):
        ax.set_title(name, fontsize=8, pad=2)
        if len(patches) == 0:
            continue
        strip_image = gallery(patches)
        ax.imshow(strip_image)
        ax.add_patch(
            Rectangle((-6, -0.5), 5, strip_image.shape[0], facecolor=np.array(colour) / 255, clip_on=False, linewidth=0)
        )
    return figure


def bars_with_spread(ax: Axes, values: dict[str, Sequence[float]], ylabel: str) -> None:
    """Draw the mean of each method as a bar with its value above, and the value of every seed as a dot."""
    for position, seeds in enumerate(values.values()):
        mean = float(np.mean(seeds))
        ax.bar(position, mean, width=0.62, color="#0072B2", alpha=0.35)
        ax.plot(np.full(len(seeds), position), seeds, "o", color="#0072B2", markersize=4)
        ax.text(position, max(seeds) + 0.015, f"{mean:.2f}", ha="center", va="bottom", fontsize=8)
    ax.set_xticks(range(len(values)), list(values))
    ax.set_ylabel(ylabel)
    ax.set_ylim(0, 1)
