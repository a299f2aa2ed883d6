"""Proto2Seg: name a few dozen clusters of patches, and every pixel has a label.

Pan et al., "Human-machine interactive tissue prototype learning for label-efficient histopathology image
segmentation", IPMI 2023. Sect. 3.2: clusters, the elbow, representative patches, naming, the dictionary. Sect. 3.3:
direct query (DQ) and cluster-then-query (CQ). The encoder is trained by ``simclr``, the result refined by ``refine``.
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
    """What a person's naming of clusters leaves behind.

    embeddings: (L, D) float32, cluster centres. labels: (L,) int64 class ids. class_names: one a class id.
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
        """Write embeddings, labels and class names to one safetensors file, whole or not at all."""
        tensors = {"embeddings": self.embeddings, "labels": self.labels}
        return save_weights(tensors, path, {"class_names": json.dumps(self.class_names)})

    @classmethod
    def load(cls, path: str | Path) -> "PrototypeDictionary":
        """Read what ``save`` wrote. ValueError if the file holds something else."""
        tensors, metadata = read_weights(path)
        if tensors.keys() != {"embeddings", "labels"} or "class_names" not in metadata:
            raise ValueError(f"{Path(path).name} is not a prototype dictionary; it holds {sorted(tensors)}.")
        names = parse_json(metadata["class_names"], f"the list of classes in {Path(path).name}")
        return cls(tensors["embeddings"], tensors["labels"], tuple(names))


def elbow(
    embeddings: torch.Tensor, ks: list[int], seed: int = 0, n_init: int = 3
) -> tuple[int, np.ndarray, np.ndarray]:
    """Choose the number of clusters without a label: where the reduction of D slows down (Sect. 3.2).

    embeddings: (N, D). ks: increasing candidates v, at least three.
    Returns the chosen v, D (len(ks),) = Σ_j Σ_p ‖c_j − p‖², and R (len(ks) − 1,) with R_v = D_{v−1} − D_v per added
    cluster. The paper reads the elbow off the curve; here it is the v farthest below the chord from first to last
    (Satopää et al., "Finding a kneedle in a haystack", 2011), k on a linear and D on its own scale.
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
    """The patches a person looks at to name each cluster: for each of the K clusters up to t indices (int64).

    embeddings: (N, D), labels: (N,), centers: (K, D). sampling: "central", the t nearest to the centre, or
    "equidistant", t at equal steps from centre to border (Sect. 4.3). Nearest first; an empty cluster gives none.
    """
    if sampling not in ("central", "equidistant"):
        raise ValueError(f'sampling must be "central" or "equidistant", not {sampling!r}.')
    if t < 1:
        raise ValueError(f"at least one patch a cluster has to be looked at; got t = {t}.")
    chosen = []
    for cluster, center in enumerate(centers):
        members = (labels == cluster).nonzero()[:, 0]
        members = members[(embeddings[members] - center).square().sum(1).argsort(stable=True)]
        if sampling == "equidistant" and len(members) > t:
            members = members[torch.linspace(0, len(members) - 1, t).round().long()]
        chosen.append(members[:t])
    return chosen


def name_clusters(fractions: np.ndarray, shown: list[torch.Tensor], purity: float = 0.8) -> torch.Tensor:
    """The paper's simulated pathologist: a cluster is named if one class covers > ``purity`` of the pixels shown.

    fractions: (N, n_classes), how much of each patch each class covers (rows may sum to less than 1 where pixels are
    ignored). shown: indices per cluster, from ``representatives``.
    Returns (K,) int64: class ids, MIXTURE for a cluster without a clear majority or with nothing to show.
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
    """The named clusters' centres with their labels; mixtures are dropped (Sect. 3.2).

    centers: (K, D), names: (K,) class ids or MIXTURE. ValueError if nothing is left.
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
    """Step 2 of the paper in one call, its pathologist simulated: cluster, show t patches each, name, keep the pure.

    embeddings: (N, D), fractions: (N, n_classes) of the same patches. Defaults are the paper's for BCSS.
    """
    clusters = kmeans(embeddings, k, n_init=3, generator=torch.Generator().manual_seed(seed))
    shown = representatives(embeddings, clusters.labels, clusters.centers, t, sampling)
    return build_dictionary(clusters.centers, name_clusters(fractions, shown, purity), class_names)


def encode(
    rgb: np.ndarray, encoder: PatchEncoder | None = None, patch: int | None = 64, stride: int = 16
) -> torch.Tensor:
    """The slow half: an image's features on a grid, to be queried as often as one likes.

    rgb: uint8 (H, W, 3). Each cell of about stride × stride pixels gets the embedding of the patch × patch pixels
    around it (the image is mirrored at its border), so a location is described as the dictionary's patches were.
    patch=None convolves the whole image instead, as the paper does, at the encoder's own stride: much faster, but
    the network then sees tissue where it saw zeros in training (lesson 03 measures the difference).
    Returns (C, h, w) float32 vectors of length 1, h = max(1, round(H / stride)).
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
    """Embeddings of patches, uint8 (N, P, P, 3) -> (N, C) float32 of length 1.

    On the unit sphere Euclidean distance, by which k-means groups, and cosine, by which SimCLR learns, agree.
    """
    return F.normalize((encoder or default_encoder()).embed(patches), dim=1)


def cell_centres(side: int, stride: int) -> np.ndarray:
    """Centres of the cells that divide ``side`` pixels evenly, so that nearest-neighbour upsampling is exact."""
    n = max(1, round(side / stride))
    return np.floor((np.arange(n) + 0.5) * side / n).astype(int)


def direct_query(features: torch.Tensor, dictionary: PrototypeDictionary, metric: str = "cosine") -> torch.Tensor:
    """DQ: every location takes the class of its nearest prototype. (C, h, w) | (B, C, h, w) -> (h, w) | (B, h, w)."""
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
    """CQ: group an image's locations first, then query with each group's centre, so that outliers follow their group.

    (C, h, w) | (B, C, h, w) -> class ids (h, w) | (B, h, w). Groups per image: γ · d, where d is the number of classes
    that DQ finds in it (at most as many as there are locations).
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
    """(C, h, w) | (B, C, h, w) -> (B, h·w, C) and the shape of the answer."""
    if features.ndim not in (3, 4) or features.shape[-3] != dictionary.embeddings.shape[1]:
        raise ValueError(
            f"features {(*features.shape,)} do not fit a dictionary of {dictionary.embeddings.shape[1]} dimensions: "
            "use the encoder the dictionary was built with."
        )
    batch = features if features.ndim == 4 else features[None]
    shape = (*features.shape[:-3], *features.shape[-2:])
    return batch.flatten(2).transpose(1, 2), shape


def upsample(ids: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Class ids on the grid (h, w) -> on the image (H, W), by nearest neighbour: the coarse mask."""
    return F.interpolate(ids[None, None].float(), size, mode="nearest-exact")[0, 0].to(ids.dtype)
