"""Embeddings as AnnData, scverse's container: `.h5ad` files that scanpy, squidpy and TissUUmaps open.

The parts of such a file are::

    X                                      features (N, D)
    obsm["spatial"]                        level-0 (x, y) of the patches' centres (N, 2)
    obsm["X_umap"]                         a map of the features (N, 2)
    obs["x"], obs["y"], obs["library_id"]  level-0 corners, and the slide's name
    obs[label], uns[label + "_colors"]     one category per patch, one "#rrggbb" per category
    uns["spatial"][slide]                  images "hires" and "lowres", and the factors from level-0 pixels to theirs,
                                           named as in Space Ranger; the diameter of a spot is the side of a patch

References
----------
- AnnData: I. Virshup et al., J Open Source Softw 9(101):4371 (2024); https://anndata.readthedocs.io
- squidpy: G. Palla et al., Nat Methods 19:171-178 (2022), whose `read.visium` sets the conventions of `uns["spatial"]`
- TissUUmaps: N. Pielawski et al., Heliyon 9(5):e15306 (2023); shows the image "hires"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from PIL import Image

from histolab_lite.data import IGNORE
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.formats.hdf5 import write_hdf5

LOWRES = 600  # pixels on the longer side, as in Space Ranger
UNLABELLED = (-1, IGNORE)


@dataclass(frozen=True, eq=False)
class Labels:
    """One class per patch.

    Parameters
    ----------
    ids : (N,) int
        Class ids; -1 and 255 stand for "no class".
    names
        Names of class 0, 1, ….
    palette
        Red, green and blue from 0 to 255 of class 0, 1, ….
    """

    ids: np.ndarray
    names: Sequence[str]
    palette: Sequence[tuple[int, int, int]]


def to_anndata(
    embeddings: SlideEmbeddings,
    labels: Mapping[str, Labels] | None = None,
    umap: np.ndarray | None = None,
    thumbnail: np.ndarray | None = None,
) -> anndata.AnnData:
    """Convert the embeddings of one slide to AnnData.

    Parameters
    ----------
    embeddings
        The patches of the slide.
    labels
        Classes of the patches, by the name of their column in `obs`.
    umap : (N, 2) or (N, 3)
        A map of the features to few dimensions.
    thumbnail : (h, w, 3) uint8
        The whole slide, as `Slide.thumbnail` returns it; needs `embeddings.slide_size`.

    Raises
    ------
    ValueError
        The labels, the map or the thumbnail do not fit the embeddings.
    """
    count, name = len(embeddings), embeddings.name.replace("/", "_")  # "/" would open a group in HDF5
    obs = pd.DataFrame(
        {
            "x": embeddings.coords[:, 0],
            "y": embeddings.coords[:, 1],
            "library_id": pd.Categorical([name] * count, categories=[name]),
        },
        index=[f"{name}-{row}" for row in range(count)],
    )
    var = pd.DataFrame(index=[f"feature-{column}" for column in range(embeddings.features.shape[1])])
    data = anndata.AnnData(X=embeddings.features, obs=obs, var=var)
    data.obsm["spatial"] = embeddings.centres
    if umap is not None:
        umap = np.asarray(umap)
        if umap.ndim != 2 or len(umap) != count:
            raise ValueError(f"{name}: a map of {count} patches has shape ({count}, 2), not {umap.shape}.")
        data.obsm["X_umap"] = umap
    for column, label in (labels or {}).items():
        if column in obs:
            raise ValueError(f"{name}: labels cannot be called {column!r}: this column exists already.")
        data.obs[column] = _categories(label, count, f"{name}, {column}")
        data.uns[f"{column}_colors"] = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in label.palette]
    data.uns["spatial"] = {name: _spatial(embeddings, thumbnail)}
    return data


def write_h5ad(
    path: str | Path,
    embeddings: SlideEmbeddings,
    labels: Mapping[str, Labels] | None = None,
    umap: np.ndarray | None = None,
    thumbnail: np.ndarray | None = None,
) -> Path:
    """Write `to_anndata(embeddings, …)` as `.h5ad`, atomically, and return its path."""
    data = to_anndata(embeddings, labels, umap, thumbnail)
    return write_hdf5(path, lambda file: anndata.io.write_elem(file, "/", data))


def _categories(label: Labels, count: int, where: str) -> pd.Categorical:
    ids, names = np.asarray(label.ids), [str(name) for name in label.names]
    if ids.shape != (count,) or ids.dtype.kind not in "iu":
        raise ValueError(f"{where}: labels are {count} class ids, not {ids.dtype} {ids.shape}.")
    if len(label.palette) != len(names) or len(set(names)) != len(names):
        raise ValueError(f"{where}: every class needs its own name and one colour; the names are {names}.")
    codes = np.where(np.isin(ids, UNLABELLED), -1, ids.astype(np.int64))
    if count and not (-1 <= codes.min() and codes.max() < len(names)):
        raise ValueError(f"{where}: class ids reach from {codes.min()} to {codes.max()}, with {len(names)} names.")
    return pd.Categorical.from_codes(codes, categories=names)


def _spatial(embeddings: SlideEmbeddings, thumbnail: np.ndarray | None) -> dict[str, Any]:
    factors: dict[str, float] = {"spot_diameter_fullres": float(embeddings.patch_size_level0)}
    images: dict[str, np.ndarray] = {}
    if thumbnail is not None:
        if thumbnail.ndim != 3 or thumbnail.shape[2] != 3 or thumbnail.dtype != np.uint8:
            raise ValueError(f"a thumbnail is uint8 RGB (h, w, 3), not {thumbnail.dtype} {thumbnail.shape}.")
        if embeddings.slide_size is None:
            raise ValueError(f"{embeddings.name}: a thumbnail needs slide_size, to place the patches on it.")
        height, width = thumbnail.shape[:2]
        factor = max(width, height) / max(embeddings.slide_size)
        expected = tuple(max(1, round(side * factor)) for side in embeddings.slide_size)
        if max(abs(width - expected[0]), abs(height - expected[1])) > 1:
            raise ValueError(
                f"a thumbnail of {width} x {height} is not the whole of {embeddings.name}, which is "
                f"{embeddings.slide_size[0]} x {embeddings.slide_size[1]} pixels."
            )
        reduced = Image.fromarray(thumbnail)
        reduced.thumbnail((LOWRES, LOWRES), Image.Resampling.BOX)
        images = {"hires": thumbnail, "lowres": np.asarray(reduced)}
        factors["tissue_hires_scalef"] = factor
        factors["tissue_lowres_scalef"] = max(reduced.size) / max(embeddings.slide_size)
    metadata = {
        "mpp": embeddings.mpp,
        "level0_mpp": embeddings.slide_mpp,
        "encoder": embeddings.encoder,
        "encoder_revision": embeddings.encoder_revision,
    }
    return {"images": images, "scalefactors": factors, "metadata": metadata}
