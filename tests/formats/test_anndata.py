"""AnnData files follow the conventions by which scanpy, squidpy and TissUUmaps find patches, labels and picture."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

from histolab_lite.formats.anndata import Labels, to_anndata, write_h5ad
from histolab_lite.formats.embeddings import SlideEmbeddings

SIZE = (4001, 2999)
LABELS = Labels(
    np.array([2, 0, -1, 255, 1]), ("glass", "stroma", "tumour"), ((221, 221, 221), (0, 158, 115), (1, 2, 3))
)


def embeddings(**changes: object) -> SlideEmbeddings:
    generator = np.random.default_rng(0)
    values: dict = {
        "name": "slide-1",
        "features": generator.standard_normal((5, 3)).astype(np.float32),
        "coords": generator.integers(0, 2400, (5, 2)),
        "patch_size": 256,
        "patch_size_level0": 513,
        "mpp": 0.5,
        "slide_mpp": 0.2495,
        "slide_size": SIZE,
        "encoder": "default",
    }
    return SlideEmbeddings(**values | changes)


def picture(width: int = 1000, height: int = 750) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    umap = np.arange(10.0).reshape(5, 2)
    return write_h5ad(tmp_path_factory.mktemp("h5ad") / "s.h5ad", embeddings(), {"tissue": LABELS}, umap, picture())


def test_scanpys_and_squidpys_parts_come_back(path: Path) -> None:
    data, slide = anndata.read_h5ad(path), embeddings()
    np.testing.assert_array_equal(data.X, slide.features)
    assert data.obs_names.is_unique
    assert data.var_names.is_unique
    np.testing.assert_array_equal(data.obsm["spatial"], slide.coords + 256.5)
    np.testing.assert_array_equal(data.obsm["X_umap"], np.arange(10.0).reshape(5, 2))
    np.testing.assert_array_equal(data.obs[["x", "y"]], slide.coords)
    assert data.obs["library_id"].tolist() == ["slide-1"] * 5
    assert data.obs["tissue"].cat.categories.tolist() == ["glass", "stroma", "tumour"]
    assert data.obs["tissue"].cat.codes.tolist() == [2, 0, -1, -1, 1]
    assert list(data.uns["tissue_colors"]) == ["#dddddd", "#009e73", "#010203"]
    spatial = data.uns["spatial"]["slide-1"]
    np.testing.assert_array_equal(spatial["images"]["hires"], picture())
    assert spatial["images"]["lowres"].shape == (450, 600, 3)
    factors = spatial["scalefactors"]
    assert factors["tissue_hires_scalef"] == pytest.approx(1000 / 4001)
    assert factors["tissue_lowres_scalef"] == pytest.approx(600 / 4001)
    assert factors["spot_diameter_fullres"] == 513
    assert spatial["metadata"] == {"mpp": 0.5, "level0_mpp": 0.2495, "encoder": "default", "encoder_revision": ""}


def test_tissuumaps_finds_what_it_reads_from_the_file(path: Path) -> None:
    """Its reader takes these paths from the HDF5 file itself: tissuumaps/read_h5ad.py, version 3."""
    with h5py.File(path) as file:
        assert file["X"].shape == (5, 3)
        assert "encoding-type" in file["X"].attrs
        assert file["obsm/spatial"].shape == (5, 2)
        assert file["obs/library_id/categories"].asstr()[...].tolist() == ["slide-1"]
        assert file["obs/tissue/categories"].asstr()[...].tolist() == ["glass", "stroma", "tumour"]
        assert file["uns/tissue_colors"].asstr()[...].tolist() == ["#dddddd", "#009e73", "#010203"]
        assert float(file["uns/spatial/slide-1/scalefactors/tissue_hires_scalef"][()]) == pytest.approx(1000 / 4001)
        image = file["uns/spatial/slide-1/images/hires"]
        assert (image.dtype, image.shape) == (np.uint8, (750, 1000, 3))
        index = file["var"].attrs["_index"]
        assert file[f"var/{index}"][0].decode() == "feature-0"


def test_patches_lie_on_the_picture_where_they_lie_on_the_slide() -> None:
    """A bright patch of the slide is bright at its centre times the factor, in both pictures."""
    slide = np.zeros((2999, 4001, 3), np.uint8)
    slide[2000:2513, 3000:3513] = 255
    small = slide[2::4, 2::4]  # 750 x 1000
    data = to_anndata(embeddings(features=np.ones((1, 2)), coords=[[3000, 2000]]), thumbnail=small)
    spatial = data.uns["spatial"]["slide-1"]
    for key in ("hires", "lowres"):
        image, factor = spatial["images"][key], spatial["scalefactors"][f"tissue_{key}_scalef"]
        radius = spatial["scalefactors"]["spot_diameter_fullres"] / 2 * factor
        x, y = data.obsm["spatial"][0] * factor
        bright = image[..., 0] > 127
        rows, columns = np.nonzero(bright)
        assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((y, x), abs=0.6)
        assert rows.max() + 1 - rows.min() == pytest.approx(2 * radius, abs=1.5)


def test_without_picture_labels_and_map() -> None:
    data = to_anndata(embeddings(slide_size=None, name="a/b"))
    assert "X_umap" not in data.obsm
    assert data.uns["spatial"]["a_b"]["images"] == {}
    assert data.uns["spatial"]["a_b"]["scalefactors"] == {"spot_diameter_fullres": 513.0}


def test_no_patches(tmp_path: Path) -> None:
    empty = embeddings(features=np.zeros((0, 3), np.float32), coords=np.zeros((0, 2), int))
    label = Labels(np.zeros(0, int), LABELS.names, LABELS.palette)
    assert anndata.read_h5ad(write_h5ad(tmp_path / "e.h5ad", empty, {"tissue": label}, None, picture())).shape == (0, 3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ids": np.zeros(4, int)}, r"slide-1, tissue: labels are 5 class ids, not int64 \(4,\)"),
        ({"ids": np.zeros(5)}, "5 class ids, not float64"),
        ({"ids": np.array([0, 1, 2, 3, 0])}, "reach from 0 to 3, with 3 names"),
        ({"ids": np.array([0, 1, -2, 2, 0])}, "reach from -2 to 2"),
        ({"palette": LABELS.palette[:2]}, "one colour"),
        ({"names": ("glass", "glass", "tumour")}, "name of its own"),
    ],
)
def test_labels_that_do_not_fit(changes: dict, match: str) -> None:
    fields = {"ids": LABELS.ids, "names": LABELS.names, "palette": LABELS.palette}
    with pytest.raises(ValueError, match=match):
        to_anndata(embeddings(), {"tissue": Labels(**fields | changes)})


def test_what_else_does_not_fit() -> None:
    with pytest.raises(ValueError, match="cannot be called 'library_id'"):
        to_anndata(embeddings(), {"library_id": LABELS})
    with pytest.raises(ValueError, match=r"shape \(5, 2\), not \(4, 2\)"):
        to_anndata(embeddings(), umap=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="uint8 RGB"):
        to_anndata(embeddings(), thumbnail=picture()[..., 0])
    with pytest.raises(ValueError, match="1000 x 500 is not the whole of slide-1, which is 4001 x 2999"):
        to_anndata(embeddings(), thumbnail=picture(1000, 500))
    with pytest.raises(ValueError, match="needs slide_size"):
        to_anndata(embeddings(slide_size=None), thumbnail=picture())


def test_colours_with_255_stay_colours() -> None:
    ids = np.array([0, 1, 2, 255, 255], np.uint8)
    data = to_anndata(embeddings(), {"tissue": Labels(ids, LABELS.names, ((255, 0, 16),) * 3)})
    assert data.obs["tissue"].cat.codes.tolist() == [0, 1, 2, -1, -1]
    assert data.uns["tissue_colors"] == ["#ff0010"] * 3
