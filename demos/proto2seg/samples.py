"""Clusters to name, and tiles to query: phantom tissue, computed in advance and kept in one file.

``make`` writes the file in some minutes; ``load`` reads it quickly. Cluster 0 is the largest.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demos.bundle import FOLDER
from demos.shared.markup import image_file
from histolab_lite.data.patches import grid_patches
from histolab_lite.data.phantom import CLASS_NAMES, PALETTE
from histolab_lite.data.tiles import load_tiles
from histolab_lite.formats.masks import mask_png
from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.methods.proto2seg import embed, encode, representatives
from histolab_lite.models.checkpoint import read_weights, save_weights

FILE = "label_clusters.safetensors"
MPP, PATCH, STRIDE = 1.0, 64, 16  # the encoder's µm per pixel, and pixels at that scale, as in lessons 02 and 03
ZOOM = 2  # patches are shown at twice the encoder's resolution
SIDE = 768  # pixels of a slide
CLUSTERED, QUERIED, SEED = 12, 3, 23  # slides
K, SHOWN = 24, 10  # clusters, and patches shown per cluster (t in the paper)
TILE = 512  # pixels


@dataclass(frozen=True, eq=False)
class Clusters:
    """K clusters of N patches. centers: (K, D). sheets: K JPEGs of central patches side by side, the nearest to the
    centre first. points: (N, 2) in the plane, from 0 to 1. labels: (N,). fractions: (K, classes), the true share of
    each class in the pixels shown."""

    centers: torch.Tensor
    sheets: tuple[bytes, ...]
    points: np.ndarray
    labels: np.ndarray
    fractions: np.ndarray
    class_names: tuple[str, ...] = CLASS_NAMES
    palette: tuple[tuple[int, int, int], ...] = PALETTE

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def key(self) -> str:
        """A digest, so that names of other clusters are not used for these."""
        return hashlib.sha256(self.centers.numpy().tobytes()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Tile:
    """features: float16 (D, h, w), to be queried. size: (rows, columns). truth: class ids of that size, if known."""

    key: str
    title: str
    jpeg: bytes
    size: tuple[int, int]
    features: torch.Tensor
    mpp: float | None = None
    truth: np.ndarray | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Samples:
    """The clusters, and the tiles by their keys."""

    clusters: Clusters
    tiles: Mapping[str, Tile]


def make(folder: Path) -> Path:
    """Draw slides, embed and cluster their patches, lay them out in the plane, and write all to ``folder``."""
    from umap import UMAP  # compiles for half a minute

    tiles = load_tiles("phantom", n_slides=CLUSTERED + QUERIED, size=ZOOM * SIDE, mpp=MPP / ZOOM, seed=SEED)
    fine = tiles.subset(range(CLUSTERED)).read_images()
    images, masks = tiles.read(MPP)
    patches, truth, shown = (
        np.concatenate([grid_patches(one, size)[0] for one in several])
        for several, size in ((images[:CLUSTERED], PATCH), (masks[:CLUSTERED], PATCH), (fine, ZOOM * PATCH))
    )
    fractions = np.stack([(truth == name).mean((1, 2)) for name in range(len(CLASS_NAMES))], axis=1)
    embeddings = embed(patches)
    found = kmeans(embeddings, K, n_init=10, generator=torch.Generator().manual_seed(0))
    order = torch.bincount(found.labels, minlength=K).argsort(descending=True, stable=True)
    labels, centers = order.argsort()[found.labels], found.centers[order]
    central = representatives(embeddings, labels, centers, SHOWN)
    plane = UMAP(n_neighbors=20, min_dist=0.2, metric="cosine", random_state=0, n_jobs=1).fit_transform(embeddings)
    low, high = plane.min(0), plane.max(0)
    content = {
        "centers": centers,
        "points": torch.from_numpy((plane - low) / (high - low).max()).half(),
        "labels": labels.to(torch.uint8),
        "fractions": torch.from_numpy(np.stack([fractions[chosen].mean(0) for chosen in central])).float(),
    }
    for cluster, chosen in enumerate(central):
        content[f"sheet {cluster:02d}"] = _as_tensor(jpeg(np.concatenate(shown[chosen], axis=1), 80))
    for number in range(QUERIED):
        image, mask = images[CLUSTERED + number], masks[CLUSTERED + number]
        row, column = _most_mixed(mask)
        place = slice(row, row + TILE), slice(column, column + TILE)
        content[f"tile {number}"] = _as_tensor(jpeg(image[place]))
        content[f"truth {number}"] = _as_tensor(mask_png(mask[place], PALETTE))
        content[f"features {number}"] = encode(image[place], patch=PATCH, stride=STRIDE).half()
    return save_weights(content, Path(folder) / FILE)


def _most_mixed(mask: np.ndarray) -> tuple[int, int]:
    """Corner of the tile whose rarest class has the largest share, then the second rarest, and so on."""
    corners = [(row, column) for row in range(0, SIDE - TILE + 1, 64) for column in range(0, SIDE - TILE + 1, 64)]

    def shares(corner: tuple[int, int]) -> list[int]:
        row, column = corner
        counts = np.bincount(mask[row : row + TILE, column : column + TILE].ravel(), minlength=len(CLASS_NAMES))
        return sorted(counts[: len(CLASS_NAMES)].tolist())

    return max(corners, key=shares)


def load(folder: Path = FOLDER) -> Samples:
    """Read what ``make`` wrote."""
    content, _ = read_weights(folder / FILE)
    clusters = Clusters(
        content["centers"],
        tuple(content[f"sheet {cluster:02d}"].numpy().tobytes() for cluster in range(len(content["centers"]))),
        content["points"].float().numpy(),
        content["labels"].numpy(),
        content["fractions"].numpy(),
    )
    tiles = {}
    for number in range(QUERIED):
        truth = np.asarray(Image.open(io.BytesIO(content[f"truth {number}"].numpy().tobytes())))
        image = content[f"tile {number}"].numpy().tobytes()
        features = content[f"features {number}"]
        key = f"phantom-{number + 1}"
        tiles[key] = Tile(key, f"Tile {number + 1}", image, (TILE, TILE), features, MPP, truth)
    return Samples(clusters, tiles)


def jpeg(rgb: np.ndarray, quality: int = 88) -> bytes:
    """An image, uint8 (H, W, 3), as a JPEG file."""
    return image_file(Image.fromarray(rgb), "jpeg", quality=quality)


def _as_tensor(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())
