"""AnnData files follow the conventions by which scanpy, squidpy and TissUUmaps find patches, labels and image."""

import anndata
import h5py
import numpy as np
import pytest

from histolab_lite.formats.anndata import Labels, to_anndata, write_h5ad
from tests.formats.slide_embeddings import embeddings

NAMES = ("glass", "stroma", "tumour")
COLOURS = ["#dddddd", "#009e73", "#0102ff"]


def labels(ids=(2, 0, -1, 255, 1), names=NAMES, palette=((221, 221, 221), (0, 158, 115), (1, 2, 255))):
    return Labels(np.array(ids), names, palette)


def thumbnail(width=1000, height=750):
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    umap = np.arange(10.0).reshape(5, 2)
    path = tmp_path_factory.mktemp("h5ad") / "s.h5ad"
    columns = {"tissue": labels(), "bytes": labels(np.array([0, 1, 2, 255, 255], np.uint8))}
    return write_h5ad(path, embeddings(), columns, umap, thumbnail())


def test_scanpy_and_squidpy_find_their_parts(path):
    data, slide = anndata.read_h5ad(path), embeddings()
    np.testing.assert_array_equal(data.X, slide.features)
    assert data.obs_names.is_unique
    assert data.var_names.is_unique
    np.testing.assert_array_equal(data.obsm["spatial"], slide.coords + 256.5)
    np.testing.assert_array_equal(data.obsm["X_umap"], np.arange(10.0).reshape(5, 2))
    np.testing.assert_array_equal(data.obs[["x", "y"]], slide.coords)
    assert data.obs["tissue"].cat.codes.tolist() == [2, 0, -1, -1, 1]
    assert data.obs["bytes"].cat.codes.tolist() == [0, 1, 2, -1, -1]
    spatial = data.uns["spatial"]["slide-1"]
    np.testing.assert_array_equal(spatial["images"]["hires"], thumbnail())
    assert spatial["images"]["lowres"].shape == (450, 600, 3)
    assert spatial["scalefactors"]["spot_diameter_fullres"] == 513
    made_by = {"encoder": "default", "encoder_revision": "0123456789ab"}
    assert spatial["metadata"] == {"mpp": 0.5, "level0_mpp": 0.2495, **made_by}


def test_tissuumaps_finds_its_parts(path):
    """Its reader takes these paths from the HDF5 file itself: tissuumaps/read_h5ad.py, version 3."""
    with h5py.File(path) as file:
        assert file["X"].shape == (5, 3)
        assert "encoding-type" in file["X"].attrs
        assert file["obsm/spatial"].shape == (5, 2)
        assert file["obs/library_id/categories"].asstr()[...].tolist() == ["slide-1"]
        assert file["obs/tissue/categories"].asstr()[...].tolist() == list(NAMES)
        assert file["uns/tissue_colors"].asstr()[...].tolist() == COLOURS
        factor = file["uns/spatial/slide-1/scalefactors/tissue_hires_scalef"][()]
        assert float(factor) == pytest.approx(1000 / 4001)
        image = file["uns/spatial/slide-1/images/hires"]
        assert (image.dtype, image.shape) == (np.uint8, (750, 1000, 3))
        index = file["var"].attrs["_index"]
        assert file[f"var/{index}"][0].decode() == "feature-0"


def test_a_patch_lies_on_the_thumbnail_where_it_lies_on_the_slide():
    """A bright patch of the slide is bright at its centre times the factor, in both images."""
    slide = np.zeros((2999, 4001, 3), np.uint8)
    slide[2000:2513, 3000:3513] = 255
    small = slide[2::4, 2::4]  # 750 x 1000
    data = to_anndata(embeddings(features=np.ones((1, 2)), coords=[[3000, 2000]]), thumbnail=small)
    spatial = data.uns["spatial"]["slide-1"]
    for key in ("hires", "lowres"):
        image, factor = spatial["images"][key], spatial["scalefactors"][f"tissue_{key}_scalef"]
        x, y = data.obsm["spatial"][0] * factor
        rows, columns = np.nonzero(image[..., 0] > 127)
        assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((y, x), abs=0.6)
        diameter = spatial["scalefactors"]["spot_diameter_fullres"] * factor
        assert rows.max() + 1 - rows.min() == pytest.approx(diameter, abs=1.5)


def test_slides_without_extras_or_patches(tmp_path):
    data = to_anndata(embeddings(slide_size=None, name="a/b"))
    assert "X_umap" not in data.obsm
    assert data.uns["spatial"]["a_b"]["images"] == {}
    assert data.uns["spatial"]["a_b"]["scalefactors"] == {"spot_diameter_fullres": 513.0}
    empty = write_h5ad(tmp_path / "e.h5ad", embeddings(0), {"tissue": labels(np.zeros(0, int))}, None, thumbnail())
    assert anndata.read_h5ad(empty).shape == (0, 3)


@pytest.mark.parametrize(
    ("parts", "keyword"),
    [
        ({"labels": {"tissue": labels(np.zeros(4, int))}}, r"slide-1, tissue: .*5 class ids, not int64 \(4,\)"),
        ({"labels": {"tissue": labels(np.zeros(5))}}, "not float64"),
        ({"labels": {"tissue": labels((0, 1, 2, 3, 0))}}, "from 0 to 3, with 3 names"),
        ({"labels": {"tissue": labels((0, 1, -2, 2, 0))}}, "from -2 to 2"),
        ({"labels": {"tissue": labels(palette=((1, 2, 3),) * 2)}}, "one colour"),
        ({"labels": {"tissue": labels(names=("glass", "glass", "tumour"))}}, "its own name"),
        ({"labels": {"library_id": labels()}}, "cannot be called 'library_id'"),
        ({"umap": np.zeros((4, 2))}, r"\(5, 2\), not \(4, 2\)"),
        ({"thumbnail": thumbnail()[..., 0]}, "uint8 RGB"),
        ({"thumbnail": thumbnail() / 255}, "uint8 RGB"),
        ({"thumbnail": thumbnail(1000, 500)}, "1000 x 500 is not the whole of slide-1, which is 4001 x 2999"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, keyword):
    with pytest.raises(ValueError, match=keyword):
        to_anndata(embeddings(), **parts)


def test_a_thumbnail_needs_the_size_of_the_slide():
    with pytest.raises(ValueError, match="needs slide_size"):
        to_anndata(embeddings(slide_size=None), thumbnail=thumbnail())
