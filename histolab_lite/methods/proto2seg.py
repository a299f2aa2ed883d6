"""Proto2Seg: name a few dozen clusters of patches, and every pixel has a label.

Pan et al., "Human-machine interactive tissue prototype learning for label-efficient histopathology image
segmentation", IPMI 2023. Sect. 3.2: clusters, the elbow, representative patches, naming, the dictionary. Sect. 3.3:
direct query (DQ) and cluster-then-query (CQ). ``simclr`` trains the encoder, ``refinement`` refines the result.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view

from histolab_lite.files import parse_json
from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.kernels.nearest_prototype import nearest_prototype
from histolab_lite.models.checkpoint import read_weights, save_weights
from histolab_lite.models.encoder import PatchEncoder, default_encoder

MIXTURE = -1  # the name of a cluster that is not one tissue: it is left out of the dictionary


@dataclass(frozen=True)
class PrototypeDictionary:
    """Cluster centres and the classes that a person gave them.

    Parameters
    ----------
    embeddings
        Cluster centres, float32 (L, D).
    labels
        Class ids, int64 (L,).
    class_names
        One per class id.

    Raises
    ------
    ValueError
        The sizes do not belong together, or a label is no class id.
    """

    embeddings: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or self.labels.shape != self.embeddings.shape[:1]:
            raise ValueError(
                f"{(*self.embeddings.shape,)} embeddings and {(*self.labels.shape,)} labels are no dictionary: "
                "expected (L, D) and (L,)."
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.class_names):
            raise ValueError(f"labels must be ids of the {len(self.class_names)} classes; got {self.labels.tolist()}.")

    def __len__(self) -> int:
        return len(self.labels)

    def save(self, path: str | Path) -> Path:
        """Write embeddings, labels and class names to one safetensors file, whole or not at all; return its path."""
        tensors = {"embeddings": self.embeddings, "labels": self.labels}
        return save_weights(tensors, path, {"class_names": json.dumps(self.class_names)})

    @classmethod
    def load(cls, path: str | Path) -> "PrototypeDictionary":
        """Read what ``save`` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file holds something else.
        """
        tensors, metadata = read_weights(path)
        if tensors.keys() != {"embeddings", "labels"} or "class_names" not in metadata:
            raise ValueError(f"{Path(path).name} is not a prototype dictionary; it holds {sorted(tensors)}.")
        names = parse_json(metadata["class_names"], f"the list of classes in {Path(path).name}")
        return cls(tensors["embeddings"], tensors["labels"], tuple(names))


def elbow(
    embeddings: torch.Tensor, ks: list[int], seed: int = 0, n_init: int = 3
) -> tuple[int, np.ndarray, np.ndarray]:
    """Choose the number of clusters without a label: where the reduction of D slows down (Sect. 3.2).

    The paper reads the elbow off the curve of D, the sum of squared distances to the cluster centres. Here it is the
    candidate farthest below the chord from the first to the last, both axes scaled to [0, 1].

    Parameters
    ----------
    embeddings
        (N, D).
    ks
        Candidates v in increasing order, at least three.
    seed
        Random seed of k-means.
    n_init
        Number of starts of k-means, of which the best counts.

    Returns
    -------
    chosen
        The chosen v.
    distances
        D_v = Σ_j Σ_p ‖c_j − p‖², float64 (len(ks),).
    reduction
        (D_{v−1} − D_v) per added cluster, float64 (len(ks) − 1,).

    Raises
    ------
    ValueError
        There are fewer than three candidates, or they do not increase.

    References
    ----------
    Satopää et al., "Finding a kneedle in a haystack", 2011.
    """
    if len(ks) < 3 or sorted(set(ks)) != list(ks):
        raise ValueError(f"an elbow needs at least three increasing candidates; got {list(ks)}.")
    generator = torch.Generator().manual_seed(seed)
    distances = np.array([kmeans(embeddings, k, n_init=n_init, generator=generator).inertia.item() for k in ks])
    steps = np.array(ks, dtype=float)
    reduction = -np.diff(distances) / np.diff(steps)
    across = (steps - steps[0]) / (steps[-1] - steps[0])
    down = (distances - distances[-1]) / max(distances[0] - distances[-1], np.finfo(float).tiny)
    return ks[int(np.argmax(1 - across - down))], distances, reduction


def representatives(
    embeddings: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor, t: int = 10, sampling: str = "central"
) -> list[torch.Tensor]:
    """Choose the patches that a person looks at to name each cluster.

    Parameters
    ----------
    embeddings
        (N, D).
    labels
        Cluster of each embedding, (N,).
    centers
        (K, D).
    t
        The most patches per cluster.
    sampling
        "central", the t nearest to the centre, or "equidistant", t at equal steps from centre to border (Sect. 4.3).

    Returns
    -------
    list of Tensor
        For each of the K clusters up to t indices, int64, the nearest first. An empty cluster gives none.

    Raises
    ------
    ValueError
        ``t`` is below 1, or the sampling is unknown.
    """
    if sampling not in ("central", "equidistant"):
        raise ValueError(f'sampling must be "central" or "equidistant", not {sampling!r}.')
    if t < 1:
        raise ValueError(f"at least one patch per cluster has to be looked at; got t = {t}.")
    chosen = []
    for cluster, center in enumerate(centers):
        members = (labels == cluster).nonzero()[:, 0]
        members = members[(embeddings[members] - center).square().sum(1).argsort(stable=True)]
        if sampling == "equidistant" and len(members) > t:
            members = members[torch.linspace(0, len(members) - 1, t).round().long()]
        chosen.append(members[:t])
    return chosen


def name_clusters(fractions: np.ndarray, shown: list[torch.Tensor], purity: float = 0.8) -> torch.Tensor:
    """Name clusters as the paper's simulated pathologist does.

    A cluster is named if one class covers more than ``purity`` of the pixels shown.

    Parameters
    ----------
    fractions
        How much of each patch each class covers, (N, n_classes). A row may sum to less than 1 where pixels are
        ignored.
    shown
        Indices per cluster, from `representatives`.
    purity
        Share in [0, 1].

    Returns
    -------
    Tensor
        Class ids (K,) int64; MIXTURE for a cluster without a clear majority, or with nothing to show.
    """
    names = torch.full((len(shown),), MIXTURE, dtype=torch.int64)
    for cluster, indices in enumerate(shown):
        covered = fractions[indices.numpy()].sum(0)
        if covered.sum() > 0 and covered.max() > purity * covered.sum():
            names[cluster] = int(covered.argmax())
    return names


def build_dictionary(
    centers: torch.Tensor, names: torch.Tensor, class_names: tuple[str, ...] | list[str]
) -> PrototypeDictionary:
    """Keep the centres of named clusters; mixtures are dropped (Sect. 3.2).

    Parameters
    ----------
    centers
        (K, D).
    names
        Class ids or MIXTURE, (K,).
    class_names
        One per class id.

    Raises
    ------
    ValueError
        Nothing is left.
    """
    kept = names != MIXTURE
    if not kept.any():
        raise ValueError("every cluster was dropped as a mixture: use more clusters or a lower purity.")
    return PrototypeDictionary(centers[kept].float(), names[kept], tuple(class_names))


def simulate_dictionary(
    embeddings: torch.Tensor,
    fractions: np.ndarray,
    class_names: tuple[str, ...] | list[str],
    k: int = 30,
    t: int = 10,
    purity: float = 0.8,
    sampling: str = "central",
    seed: int = 0,
) -> PrototypeDictionary:
    """Take step 2 of the paper in one call: cluster, show t patches per cluster, name them, keep the pure ones.

    The pathologist is simulated. The defaults are the paper's for BCSS.

    Parameters
    ----------
    embeddings
        (N, D).
    fractions
        Of the same patches, as in `name_clusters`.
    class_names
        One per class id.
    k
        Number of clusters.
    t, sampling
        As in `representatives`.
    purity
        As in `name_clusters`.
    seed
        Random seed of k-means.
    """
    clusters = kmeans(embeddings, k, n_init=3, generator=torch.Generator().manual_seed(seed))
    shown = representatives(embeddings, clusters.labels, clusters.centers, t, sampling)
    return build_dictionary(clusters.centers, name_clusters(fractions, shown, purity), class_names)


def encode(
    rgb: np.ndarray, encoder: PatchEncoder | None = None, patch: int | None = 64, stride: int = 16
) -> torch.Tensor:
    """Compute an image's features on a grid. This is slow; queries of the features are fast.

    Each cell gets the embedding of the patch around it, with the image mirrored at its border. So a location is
    described as the patches of the dictionary were.

    Parameters
    ----------
    rgb
        uint8 (H, W, 3).
    encoder
        By default the one that ships with the package.
    patch
        Side of the patch in pixels. None convolves the whole image at the encoder's own stride, as the paper does.
        That is much faster, but the network then sees tissue where it saw zeros in training; lesson 03 measures the
        difference.
    stride
        Side of a cell in pixels, roughly.

    Returns
    -------
    Tensor
        float32 vectors of length 1, (C, h, w), h = max(1, round(H / stride)).

    Raises
    ------
    ValueError
        Patch or stride is below 1.
    """
    encoder = encoder or default_encoder()
    if patch is None:
        return F.normalize(encoder.encode(rgb), dim=0)
    if patch < 1 or stride < 1:
        raise ValueError(f"patch and stride are at least 1 pixel, not {patch} and {stride}.")
    ys, xs = (cell_centres(side, stride) for side in rgb.shape[:2])
    half = patch // 2
    padded = np.pad(rgb, ((half, patch), (half, patch), (0, 0)), mode="reflect")
    windows = sliding_window_view(padded, (patch, patch), axis=(0, 1))  # (H', W', 3, P, P)
    rows = [embed(windows[y, xs].transpose(0, 2, 3, 1), encoder) for y in ys]  # each (w, C)
    return torch.stack(rows).permute(2, 0, 1).contiguous()


def embed(patches: np.ndarray, encoder: PatchEncoder | None = None) -> torch.Tensor:
    """Embed patches: uint8 (N, P, P, 3) -> float32 vectors of length 1, (N, C).

    For vectors of length 1 the Euclidean distance, by which k-means groups, and the cosine, by which SimCLR learns,
    agree.
    """
    return F.normalize((encoder or default_encoder()).embed(patches), dim=1)


def cell_centres(side: int, stride: int) -> np.ndarray:
    """Return the centres of cells that divide ``side`` pixels evenly, so that nearest-neighbour upsampling is exact."""
    n = max(1, round(side / stride))
    return np.floor((np.arange(n) + 0.5) * side / n).astype(int)


def direct_query(features: torch.Tensor, dictionary: PrototypeDictionary, metric: str = "cosine") -> torch.Tensor:
    """Give every location the class of its nearest prototype: direct query, DQ.

    Parameters
    ----------
    features
        (C, h, w) or (B, C, h, w).
    dictionary
        Prototypes of C dimensions.
    metric
        "cosine" or "euclidean".

    Returns
    -------
    Tensor
        Class ids, int64 (h, w) or (B, h, w).

    Raises
    ------
    ValueError
        Features and dictionary do not belong together, the dictionary is empty, or features are NaN.
    """
    locations, shape = _locations(features, dictionary)
    index, _ = nearest_prototype(locations.flatten(0, 1), dictionary.embeddings.to(features.device), metric)
    return dictionary.labels.to(features.device)[index].view(shape)


def cluster_then_query(
    features: torch.Tensor,
    dictionary: PrototypeDictionary,
    gamma: int = 5,
    metric: str = "cosine",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Group an image's locations, then query with the centre of each group: cluster-then-query, CQ.

    So outliers follow their group. An image has γ · d groups, where d is the number of classes that DQ finds in it,
    but no more groups than locations.

    Parameters
    ----------
    features, dictionary, metric
        As in `direct_query`.
    gamma
        γ, at least 1.
    generator
        Random numbers of k-means.

    Returns
    -------
    Tensor
        Class ids, int64 (h, w) or (B, h, w).

    Raises
    ------
    ValueError
        ``gamma`` is below 1, or `direct_query` refuses an argument.
    """
    if gamma < 1:
        raise ValueError(f"gamma must be at least 1, not {gamma}.")
    locations, shape = _locations(features, dictionary)
    b, n, _ = locations.shape
    coarse = direct_query(features, dictionary, metric).view(b, n)
    present = torch.zeros(b, len(dictionary.class_names), device=features.device).scatter_(1, coarse, 1)
    groups = (gamma * present.sum(1)).long().clamp(max=n)
    labels, centers, _, _ = kmeans(locations, groups, generator=generator)
    index, _ = nearest_prototype(centers.flatten(0, 1), dictionary.embeddings.to(features.device), metric)
    classes = dictionary.labels.to(features.device)[index].view(b, -1)  # (B, K)
    return classes.gather(1, labels).view(shape)


def _locations(features: torch.Tensor, dictionary: PrototypeDictionary) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Locations (B, h·w, C) of (C, h, w) or (B, C, h, w), and the shape of the answer."""
    if features.ndim not in (3, 4) or features.shape[-3] != dictionary.embeddings.shape[1]:
        raise ValueError(
            f"features {(*features.shape,)} do not fit a dictionary of {dictionary.embeddings.shape[1]} dimensions: "
            "use the encoder the dictionary was built with."
        )
    batch = features if features.ndim == 4 else features[None]
    shape = (*features.shape[:-3], *features.shape[-2:])
    return batch.flatten(2).transpose(1, 2), shape


def upsample(ids: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Enlarge class ids of a grid (h, w) to the image (H, W) by nearest neighbour: the coarse mask."""
    return F.interpolate(ids[None, None].float(), size, mode="nearest-exact")[0, 0].to(ids.dtype)
