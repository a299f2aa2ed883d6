"""``python -m benchmarks.experiments.seeds --data phantom``: masks from 1, 3 or 5 seeds per class (SIC, Fig. 2).

Every slide is cut into patches that half overlap; its seeds are drawn from inside the masks, the same for every encoder
and method. A patch is positive if half of it is, and F1 is that of the positive patches of a slide. Small lesions are
windows of the same slides, those in which the fewest patches are positive and still enough for the seeds.

A phantom slide is positive where it shows tumour. GlaS images are laid side by side, into one mosaic per patient.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from numpy.lib.stride_tricks import sliding_window_view
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from tqdm import tqdm

from benchmarks.report import write_json
from histolab_lite.data.patches import grid_patches
from histolab_lite.data.tiles import load_tiles
from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.methods import sic
from histolab_lite.models import load_encoder
from histolab_lite.models.encoder import Encoder, PatchEncoder

SEEDS = (1, 3, 5)
POSITIVE = {"phantom": "tumour", "glas": "gland"}
#: µm per pixel and pixels per side of a patch: the paper's, and those that the encoder was trained at, for glands.
SCALE = {"phantom": (0.5, 256), "glas": (1.0, 48)}
WINDOW = 16  # patches per side of a small lesion's surroundings
PURE = 0.9


#: F1 of the positive patches, as in the paper; where half are positive, calling all so gets it, and not the second.
MEASURES: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "f1": lambda labels, true: sic.patch_f1(labels, true, 1),
    "balanced_accuracy": lambda labels, true: float(balanced_accuracy_score(true, labels)),
}


class Patches(NamedTuple):
    """One slide: embeddings (N, D), places (N, 2) in strides, and the share of each class in each patch (N, K)."""

    x: torch.Tensor
    places: np.ndarray
    fractions: np.ndarray

    def part(self, chosen: np.ndarray) -> "Patches":
        return Patches(self.x[chosen], self.places[chosen], self.fractions[chosen])


def embed(image: np.ndarray, mask: np.ndarray, n_classes: int, patch: int, encoder: PatchEncoder) -> Patches:
    cut, corners = grid_patches(image, patch, patch // 2)
    windows, _ = grid_patches(mask, patch, patch // 2)
    fractions = np.stack([(windows == k).mean((1, 2)) for k in range(n_classes)], 1)
    return Patches(encoder.embed(cut, batch_size=32), corners // (patch // 2), fractions)


def load_slides(
    data: str, n_slides: int, size: int, mpp: float, patch: int, encoder: PatchEncoder
) -> tuple[list[Patches], int]:
    """Slides without empty glass, and the id of the positive class."""
    tiles = load_tiles(data, n_slides=n_slides, size=size, mpp=mpp)
    aim, n_classes = tiles.class_names.index(POSITIVE[data]), len(tiles.class_names)
    slides: dict[str, list[Patches]] = {}
    for tile in tqdm(tiles.subset(np.arange(len(tiles))), desc=encoder.name):
        (image,), (mask,) = tiles.subset([tiles.tiles.index(tile)]).read(mpp)
        parts = slides.setdefault(tile.group, [])
        found = embed(image, mask, n_classes, patch, encoder)
        if data == "phantom":
            found = found.part(found.fractions[:, tiles.class_names.index("background")] < 0.5)
        right = max((part.places[:, 1].max() for part in parts), default=-2) + 2  # no neighbours across images
        parts.append(found._replace(places=found.places + [0, right]))
    return [joined(parts) for parts in slides.values()], aim


def joined(parts: list[Patches]) -> Patches:
    return Patches(
        torch.cat([part.x for part in parts]),
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.fractions for part in parts]),
    )


def small_lesion(slide: Patches, aim: int) -> Patches | None:
    """The window of WINDOW × WINDOW patches with the fewest positive ones, as long as there are enough seeds."""
    pure, positive = (np.zeros(slide.places.max(0) + 1) for _ in range(2))
    pure[tuple(slide.places.T)] = slide.fractions[:, aim] >= PURE
    positive[tuple(slide.places.T)] = slide.fractions[:, aim] >= 0.5
    if min(pure.shape) < WINDOW:
        return None
    counts = [sliding_window_view(a, (WINDOW, WINDOW)).sum((2, 3)) for a in (pure, positive)]
    fewest = np.where(counts[0] >= max(SEEDS), counts[1], np.inf)
    corner = np.array(np.unravel_index(fewest.argmin(), fewest.shape))
    inside = np.asarray(((slide.places >= corner) & (slide.places < corner + WINDOW)).all(1))
    return slide.part(inside) if np.isfinite(fewest.min()) else None


def with_spatial(options: dict) -> Callable[[Patches, torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda slide, two, many: sic.segment(sic.prepare(slide.x, slide.places), two, **options) == 1


def several_classes(slide: Patches, two: torch.Tensor, many: torch.Tensor) -> torch.Tensor:
    return sic.segment(sic.prepare(slide.x, slide.places), many) == int(many[two == 1][0])


def unseeded(slide: Patches, two: torch.Tensor, many: torch.Tensor) -> torch.Tensor:
    """Two clusters from a k-means++ start; the one with more of the positive seeds is positive."""
    x = sic.prepare(slide.x, slide.places)
    labels = kmeans(x, 2, generator=torch.Generator().manual_seed(0)).labels
    return labels == int((labels[two == 1].float().mean() - labels[two == 0].float().mean()) > 0)


def logistic_regression(slide: Patches, two: torch.Tensor, many: torch.Tensor) -> torch.Tensor:
    x = sic.prepare(slide.x, slide.places).numpy()
    known = (two >= 0).numpy()
    return torch.from_numpy(LogisticRegression().fit(x[known], two[known]).predict(x)) == 1


METHODS: dict[str, Callable[[Patches, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "Algorithm 1, raw embeddings": lambda slide, two, many: sic.segment(slide.x, two) == 1,
    "Algorithm 1, prepared": lambda slide, two, many: sic.segment(sic.prepare(slide.x), two) == 1,
    "Algorithm 1, prepared with neighbours": with_spatial({}),
    "+ k-means of a cluster of positives": with_spatial({"plain": "positives"}),
    "+ half held by the seeds": with_spatial({"anchor": 0.5}),
    "nearest mean of seeds": with_spatial({"anchor": 1.0}),
    "several classes": several_classes,
    "two clusters without seeds": unseeded,
    "logistic regression of the seeds": logistic_regression,
    "everything positive": lambda slide, two, many: torch.ones(len(slide.x), dtype=torch.bool),
}


def evaluate(slides: list[Patches], aim: int, draws: int) -> dict[str, dict]:
    """Measure -> method -> number of seeds -> scores, of the slides that have enough pure patches of both kinds."""
    drawable = [
        slide
        for slide in slides
        if min((slide.fractions[:, aim] >= PURE).sum(), (slide.fractions[:, aim] <= 1 - PURE).sum()) >= max(SEEDS)
    ]
    found: dict[str, dict[str, dict]] = {measure: {} for measure in MEASURES}
    for n in SEEDS:
        scores: dict[str, list[list[list[float]]]] = {name: [] for name in METHODS}
        for slide in tqdm(drawable, desc=f"{n} seeds", leave=False):
            positive = slide.fractions[:, aim]
            true = torch.from_numpy((positive >= 0.5).astype(np.int64))
            enough = [k for k in range(slide.fractions.shape[1]) if (slide.fractions[:, k] >= PURE).sum() >= n]
            rows: dict[str, list[list[float]]] = {name: [] for name in METHODS}
            for draw in range(draws):
                two = sic.simulate_seeds(np.stack([1 - positive, positive], 1), n, (0, 1), PURE, seed=draw)
                many = sic.simulate_seeds(slide.fractions, n, enough, PURE, seed=draw)
                many[many == aim] = -1
                many[two == 1] = aim  # the same positive seeds
                for name, method in METHODS.items():
                    labels = method(slide, two, many).long()
                    rows[name].append([measure(labels, true) for measure in MEASURES.values()])
            for name, row in rows.items():
                scores[name].append(row)
        for name, table in scores.items():
            for measure, values in zip(MEASURES, np.moveaxis(np.array(table), 2, 0), strict=True):  # (slides, draws)
                by_slide = values.mean(1).round(4).tolist()
                found[measure].setdefault(name, {})[str(n)] = sic.best_and_mean(values) | {"by_slide": by_slide}
    shares = [float((slide.fractions[:, aim] >= 0.5).mean()) for slide in drawable]
    return {"positive_share": np.round(shares, 4).tolist(), **found}


def main(
    data: Annotated[str, typer.Option(help="phantom or glas.")] = "phantom",
    n_slides: Annotated[int, typer.Option(help="Phantom slides.")] = 10,
    size: Annotated[int, typer.Option(help="Pixels per side of a phantom slide.")] = 4096,
    draws: Annotated[int, typer.Option(help="Draws of seeds per slide.")] = 5,
    encoders: Annotated[
        str, typer.Option(help="Names that load_encoder knows, and random, random1, …: untrained ones.")
    ] = "random,random1,random2,default",
    mpp: Annotated[float | None, typer.Option(help="µm per pixel; by default the data set's own in SCALE.")] = None,
    patch: Annotated[int | None, typer.Option(help="Pixels per side of a patch; likewise.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON.")] = None,
) -> None:
    mpp, patch = mpp or SCALE[data][0], patch or SCALE[data][1]
    result: dict = {"data": data, "patch": patch, "mpp": mpp, "draws": draws, "encoders": {}}
    for name in encoders.split(","):
        torch.manual_seed(int(name.removeprefix("random") or 0) if name.startswith("random") else 0)
        encoder = Encoder(0.5) if name.startswith("random") else load_encoder(name)
        slides, aim = load_slides(data, n_slides, size, mpp, patch, encoder)
        lesions = [lesion for slide in slides if (lesion := small_lesion(slide, aim)) is not None]
        parts = {"slides": slides} | ({"small lesions": lesions} if len(lesions) > 1 else {})
        result["encoders"][name] = {part: evaluate(some, aim, draws) for part, some in parts.items()}
        for part, scored in result["encoders"][name].items():
            shares = scored["positive_share"]
            what = f"{name}, {len(shares)} {part}, {np.mean(shares):.0%} positive"
            table = Table(title=f"{what}: F1, best of {draws} | mean ± sd of draws; balanced accuracy")
            for column in ("", *(f"{n} per class" for n in SEEDS)):
                table.add_column(column)
            for method, row in scored["f1"].items():
                other = scored["balanced_accuracy"][method]
                cells = (f"{s['best']:.2f} | {s['mean']:.3f} ± {s['draw_sd']:.3f}" for s in row.values())
                means = (f"{s['mean']:.3f}" for s in other.values())
                table.add_row(method, *(f"{f1}; {mean}" for f1, mean in zip(cells, means, strict=True)))
            Console(width=140).print(table)
    if out:
        write_json(out, result)


if __name__ == "__main__":
    typer.run(main)
