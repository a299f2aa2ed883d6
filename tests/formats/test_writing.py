"""Every format is written whole or not at all: a full disk leaves the old file and nothing else."""

import numpy as np
import pytest

from histolab_lite.formats.anndata import write_h5ad
from histolab_lite.formats.masks import write_mask
from histolab_lite.formats.ome_tiff import write_labels
from histolab_lite.formats.qupath import write_geojson
from tests.formats.slide_embeddings import embeddings

NAMES, PALETTE = ["other", "gland"], [(221, 221, 221), (0, 158, 115)]
OPTIONS = {"mpp": 0.5, "class_names": NAMES, "palette": PALETTE}
WRITERS = {
    "mask.png": lambda path, mask: write_mask(path, mask, PALETTE),
    "mask.ome.tif": lambda path, mask: write_labels(path, [mask], mask.shape, **OPTIONS),
    "mask.geojson": lambda path, mask: write_geojson(path, mask, NAMES, PALETTE),
    "slide.h5": lambda path, mask: embeddings(len(mask)).save(path),
    "slide.h5ad": lambda path, mask: write_h5ad(path, embeddings(len(mask))),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(name, tmp_path, fill_disk):
    path = tmp_path / "new" / name
    assert WRITERS[name](path, np.eye(3, dtype=np.uint8)) == path
    before = path.read_bytes()
    fill_disk()
    with pytest.raises(OSError, match=f"^{name} was not written: the disk is full"):
        WRITERS[name](path, np.zeros((4, 4), np.uint8))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
