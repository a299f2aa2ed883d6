"""Embeddings come back as they were stored, in TRIDENT's layout, and nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.data.slide_files import SlideFile
from histolab_lite.formats.embeddings import SlideEmbeddings, read_attributes, stack
from histolab_lite.formats.hdf5 import BLOCK, DamagedError
from tests.flips import flipped

FIELDS = [name for name in SlideEmbeddings.__dataclass_fields__ if name not in ("features", "coords")]


def embeddings(count: int = 5, length: int = 3, **changes: object) -> SlideEmbeddings:
    generator = np.random.default_rng(0)
    values: dict = {
        "name": "slide-1",
        "features": generator.standard_normal((count, length)).astype(np.float32),
        "coords": np.stack([np.arange(count) * 100, np.arange(count) * 7], axis=1),
        "patch_size": 256,
        "patch_size_level0": 513,
        "mpp": 0.5,
        "overlap": 128,
        "slide_mpp": 0.2495,
        "slide_size": (4001, 2999),
        "encoder": "default",
        "encoder_revision": "0123456789ab",
        "min_tissue": 0.5,
        "slide_file": SlideFile(1234567, 1764352800123456789, "ab" * 32),
    }
    return SlideEmbeddings(**values | changes)


def assert_alike(one: SlideEmbeddings, other: SlideEmbeddings) -> None:
    for field in FIELDS:
        assert getattr(one, field) == getattr(other, field), field
    assert (one.features.dtype, one.coords.dtype) == (other.features.dtype, other.coords.dtype)
    np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_array_equal(one.coords, other.coords)


def write(path: Path, arrays: dict, attributes: dict | None = None) -> Path:
    """A file of other people's, attributes by dataset."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array).attrs.update((attributes or {}).get(name, {}))
    return path


def trident(path: Path, **changes: object) -> Path:
    """As TRIDENT writes features of patches of 256 px at 20x of a slide at 40x."""
    arrays = {"features": np.ones((4, 6), np.float32), "coords": np.arange(8).reshape(4, 2) * 512}
    coords = {
        "patch_size": 256,
        "patch_size_level0": 512,
        "level0_magnification": 40,
        "target_magnification": 20,
        "overlap": 64,
        "name": "theirs",
        "savetodir": "/home/someone/coords",
        "level0_width": 9000,
        "level0_height": 8000,
    }
    coords = {key: value for key, value in (coords | changes).items() if value is not None}
    return write(
        path, arrays, {"coords": coords, "features": {"name": "theirs", "savetodir": "/home/someone/features"}}
    )


text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_saved_comes_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    count, length = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 4))
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    finite = st.floats(allow_nan=False, allow_infinity=False, width=np.dtype(dtype).itemsize * 8)
    patch, side = data.draw(st.integers(1, 2000)), data.draw(st.integers(1, 2000))
    width, height = data.draw(st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)))
    xs, ys = (
        data.draw(hnp.arrays(np.int64, count, elements=st.integers(1 - side, end - 1))) for end in (width, height)
    )
    scale = st.floats(1e-3, 1e3)
    stored = SlideEmbeddings(
        name=data.draw(text.filter(lambda name: name not in ("", "None"))),
        features=data.draw(hnp.arrays(dtype, (count, length), elements=finite)),
        coords=np.stack([xs, ys], axis=1),
        patch_size=patch,
        patch_size_level0=side,
        mpp=data.draw(scale),
        overlap=data.draw(st.integers(0, patch - 1)),
        slide_mpp=data.draw(st.none() | scale),
        slide_size=data.draw(st.sampled_from([None, (width, height)])),
        encoder=data.draw(text.filter(lambda name: name != "None")),
        encoder_revision=data.draw(st.sampled_from(["", "0123456789ab"])),
        min_tissue=data.draw(st.none() | st.floats(0, 1)),
        slide_file=data.draw(st.none() | st.builds(SlideFile, st.integers(0, 2**62), st.integers(0, 2**62), text)),
    )
    path = stored.save(tmp_path_factory.mktemp("roundtrip") / "s.h5")
    assert_alike(stored, SlideEmbeddings.load(path))


def test_every_attribute_stands_where_tridents_readers_look(tmp_path: Path) -> None:
    path = embeddings().save(tmp_path / "results" / "slide-1.h5")
    with h5py.File(path) as file:
        assert set(file) == {"features", "coords"}
        assert file["features"].shape == (5, 3)
        assert file["features"].dtype == np.float32
        assert file["coords"].shape == (5, 2)
        assert file["coords"].dtype == np.int64
        assert dict(file["features"].attrs) == {
            "name": "slide-1",
            "savetodir": "results",  # and no more of the path
            "encoder": "default",
            "encoder_revision": "0123456789ab",
            "slide_bytes": 1234567,
            "slide_modified": 1764352800123456789,
            "slide_sha256": "ab" * 32,
        }
        said = dict(file["coords"].attrs)
    assert said.pop("level0_magnification") == pytest.approx(10 / 0.2495)
    assert said == {
        "patch_size": 256,
        "patch_size_level0": 513,
        "target_magnification": 20,
        "overlap": 128,
        "name": "slide-1",
        "savetodir": "results",
        "level0_width": 4001,
        "level0_height": 2999,
        "mpp": 0.5,
        "level0_mpp": 0.2495,
        "min_tissue": 0.5,
    }
    assert all(np.issubdtype(type(said[key]), np.integer) for key in ("patch_size", "overlap", "target_magnification"))
    assert read_attributes(path) | said == read_attributes(path)
    assert read_attributes(path)["n_patches"] == 5


def test_tridents_files_are_read(tmp_path: Path) -> None:
    loaded = SlideEmbeddings.load(trident(tmp_path / "t.h5"))
    assert (loaded.name, loaded.patch_size, loaded.patch_size_level0, loaded.overlap) == ("theirs", 256, 512, 64)
    assert (loaded.mpp, loaded.slide_mpp, loaded.slide_size) == (0.5, 0.25, (9000, 8000))
    assert (loaded.encoder, loaded.min_tissue) == ("", None)
    np.testing.assert_array_equal(loaded.centres, np.arange(8).reshape(4, 2) * 512 + 256)


def test_older_trident_files_without_the_patch_size_at_level_0(tmp_path: Path) -> None:
    path = trident(tmp_path / "t.h5", patch_size_level0=None, level0_width=None, overlap="None", name=np.bytes_(b"old"))
    loaded = SlideEmbeddings.load(path)
    assert (loaded.patch_size_level0, loaded.slide_size, loaded.overlap, loaded.name) == (512, None, 0, "old")


def test_features_with_an_axis_for_the_slide(tmp_path: Path) -> None:
    features, coords = np.arange(8, dtype=np.float32).reshape(1, 4, 2), np.arange(8).reshape(1, 4, 2)
    scale = {"patch_size": 256, "patch_size_level0": 512, "mpp": 0.5}
    for name, corners in (("2d", coords[0]), ("3d", coords)):
        path = write(tmp_path / f"{name}.h5", {"features": features, "coords": corners})
        loaded = SlideEmbeddings.load(path, **scale)
        np.testing.assert_array_equal(loaded.features, features[0])
        np.testing.assert_array_equal(loaded.coords, coords[0])
        assert loaded.name == name


def test_clams_files_need_to_be_told_the_scale(tmp_path: Path) -> None:
    arrays = {"features": np.ones((3, 2), np.float32), "coords": np.arange(6, dtype=np.int32).reshape(3, 2)}
    bare = write(tmp_path / "clam.h5", arrays)
    with pytest.raises(
        ValueError, match=r"does not say patch_size and patch_size_level0 and mpp.*load\(path, patch_size="
    ):
        SlideEmbeddings.load(bare)
    loaded = SlideEmbeddings.load(bare, patch_size=256, patch_size_level0=512, mpp=0.5)
    assert (loaded.slide_mpp, loaded.coords.dtype) == (0.25, np.int64)
    attributes = {
        "patch_size": 256,
        "patch_level": 1,
        "downsample": (4.0, 4.0002),
        "level_dim": (500, 400),
        "name": "c",
    }
    patches = write(tmp_path / "with.h5", arrays, {"coords": attributes})
    with pytest.raises(ValueError, match=r"does not say mpp,.*load\(path, mpp=\.\.\.\)"):
        SlideEmbeddings.load(patches)
    assert SlideEmbeddings.load(patches, mpp=1.0).patch_size_level0 == 1024


def refused(path: Path, match: str) -> None:
    for read in (SlideEmbeddings.load, read_attributes):
        with pytest.raises(ValueError, match=match) as caught:
            read(path)
        assert str(path.parent) not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.h5: there is no such"):
        SlideEmbeddings.load(tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    refused(tmp_path / "text.h5", "no HDF5 file")
    whole = embeddings(200, 64, slide_size=None).save(tmp_path / "whole.h5").read_bytes()
    for kept in (0, 10, 300, len(whole) * 3 // 4):
        (tmp_path / "part.h5").write_bytes(whole[:kept])
        refused(tmp_path / "part.h5", "part.h5 is damaged, or only a part of a file")
        with pytest.raises(DamagedError):
            SlideEmbeddings.load(tmp_path / "part.h5")
    theirs = write(tmp_path / "theirs.h5", {"features": np.ones((200, 64)), "coords": np.zeros((200, 2), int)})
    theirs.write_bytes(theirs.read_bytes()[:50_000])
    refused(theirs, "only a part of one")
    coords = np.zeros((3, 2), int)
    refused(
        write(tmp_path / "a.h5", {"imgs": np.zeros((3, 2)), "coords": coords}), r"no dataset 'features'; it has .*imgs"
    )
    refused(write(tmp_path / "b.h5", {"features": np.zeros((3, 2))}), "no dataset 'coords'")
    refused(write(tmp_path / "c.h5", {"features": np.zeros(768), "coords": coords}), "one vector for the whole slide")
    refused(write(tmp_path / "d.h5", {"features": np.zeros((2, 3, 4)), "coords": coords}), r"'features' is \(2, 3, 4\)")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_group("features/deeper")
    refused(tmp_path / "e.h5", "no dataset 'features'")
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("features", (10**9, 10**4), np.float32)  # announced, never written: 40 TB of zeros
        file["coords"] = coords
    refused(tmp_path / "f.h5", "never written")


def test_every_bit_that_flips_is_noticed(tmp_path: Path) -> None:
    content = embeddings().save(tmp_path / "s.h5").read_bytes()
    copy = tmp_path / "copy.h5"
    for _, damaged in [*flipped(content), *flipped(content[:BLOCK])]:
        copy.write_bytes(damaged + content[len(damaged) :])
        refused(copy, r"copy\.h5 (is damaged|is no HDF5|was changed)")
    copy.write_bytes(content)
    assert_alike(SlideEmbeddings.load(copy), embeddings())


def test_other_readers_notice_damaged_features_and_coordinates(tmp_path: Path) -> None:
    path = embeddings().save(tmp_path / "s.h5")
    with h5py.File(path) as file:
        chunks = {key: file[key].id.read_direct_chunk((0, 0))[1] for key in ("features", "coords")}
    content = path.read_bytes()
    for key, chunk in chunks.items():
        assert content.count(chunk) == 1
        for _, damaged in flipped(chunk):
            path.write_bytes(content.replace(chunk, damaged))
            with h5py.File(path) as file, pytest.raises(OSError, match="read data"):
                file[key][()]


def test_a_file_of_others_with_checksums_is_refused_when_they_do_not_fit(tmp_path: Path) -> None:
    path = trident(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        array = file["features"][()]
        del file["features"]
        file.create_dataset("features", data=array, fletcher32=True)
        chunk = file["features"].id.read_direct_chunk((0, 0))[1]
    content = path.read_bytes()
    assert content.count(chunk) == 1
    path.write_bytes(content.replace(chunk, bytes([chunk[0] ^ 1]) + chunk[1:]))
    with pytest.raises(ValueError, match=r"t\.h5 is damaged\. Copy it again"):
        SlideEmbeddings.load(path)


def test_a_file_that_another_program_added_to_is_not_called_damaged(tmp_path: Path) -> None:
    path = embeddings().save(tmp_path / "s.h5")
    with h5py.File(path, "r+") as file:
        file["labels"] = np.arange(5000)
    refused(path, r"s\.h5 was changed by another program")
    with pytest.raises(ValueError, match="another program") as caught:
        SlideEmbeddings.load(path)
    assert not isinstance(caught.value, DamagedError)


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They had neither digest nor checksums, and did not note the slide's file."""
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file, h5py.File(embeddings().save(tmp_path / "now.h5")) as now:
        for key in ("features", "coords"):
            noted = {name: value for name, value in now[key].attrs.items() if not name.startswith("slide_")}
            file.create_dataset(key, data=now[key][()]).attrs.update(noted)
    assert_alike(SlideEmbeddings.load(path), embeddings(slide_file=None))


def test_a_file_cannot_make_us_read_another_one(tmp_path: Path) -> None:
    secret = embeddings().save(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["features"] = h5py.ExternalLink(str(secret), "features")
        file["coords"] = np.zeros((5, 2), int)
    refused(tmp_path / "link.h5", "no dataset 'features'")
    layout = h5py.VirtualLayout((5, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "features", (5, 3))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("features", layout)
        file["coords"] = np.zeros((5, 2), int)
    refused(tmp_path / "virtual.h5", "no dataset 'features'")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("features", (5, 3), np.float32, external=[(str(secret), 0, 60)])
        file["coords"] = np.zeros((5, 2), int)
    refused(tmp_path / "raw.h5", "no dataset 'features'")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"patch_size": "large"}, "patch_size is a number of at least 0, not 'large'"),
        ({"level0_width": -4}, "level0_width is a number of at least 0"),
        ({"mpp": float("nan")}, "mpp is a number"),
        ({"level0_width": 1000}, r"3 of 4 patches lie outside the slide of 1000 x 8000"),
        ({"overlap": 256}, "share 256 px"),
    ],
)
def test_attributes_that_make_no_sense_are_refused(tmp_path: Path, changes: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SlideEmbeddings.load(trident(tmp_path / "t.h5", **changes))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"features": np.zeros((4, 3), np.float32)}, "4 features but 5 coordinates"),
        ({"features": np.zeros((5, 0), np.float32)}, r"shape \(N, D\)"),
        ({"features": np.zeros((5, 3), int)}, "features are floats"),
        ({"features": np.full((5, 3), np.inf)}, "5 of 5 patches have features that are no finite numbers"),
        ({"coords": np.zeros((5, 3), int)}, r"corners \(N, 2\)"),
        ({"coords": np.full((5, 2), 0.5)}, "whole numbers"),
        ({"coords": np.array([[0, 0]] * 4 + [[-513, 0]])}, "1 of 5 patches lie outside"),
        ({"coords": np.array([[0, 0]] * 4 + [[0, 2999]])}, "1 of 5 patches lie outside"),
        ({"name": ""}, "need the name"),
        ({"mpp": 0.0}, "µm per pixel and positive"),
        ({"patch_size_level0": 0}, "not possible"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        embeddings(**changes)


def test_patches_may_stick_out_of_the_slide() -> None:
    assert len(embeddings(2, coords=np.array([[-512, 0], [4000, 2998]]))) == 2
    whole = embeddings(2, coords=np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert whole.coords.dtype == np.int64


def test_slides_stack_when_they_were_embedded_alike() -> None:
    one, two, empty = embeddings(2), embeddings(3, name="slide-2", slide_size=None), embeddings(0, name="slide-3")
    features, index = stack([one, two, empty])
    np.testing.assert_array_equal(features, np.concatenate([one.features, two.features]))
    assert index.tolist() == [0, 0, 1, 1, 1]
    for changes in (
        {"encoder": "uni"},
        {"encoder_revision": "f" * 12},
        {"mpp": 1.0},
        {"patch_size": 224},
        {"length": 4},
    ):
        with pytest.raises(
            ValueError, match="slide-1 and slide-2 cannot be compared: the one has default 0123456789ab"
        ):
            stack([one, embeddings(3, name="slide-2", **changes)])
    with pytest.raises(ValueError, match="no embeddings"):
        stack([])


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, fill_disk: Callable[..., None]) -> None:
    path = embeddings().save(tmp_path / "s.h5")
    before = path.read_bytes()
    fill_disk()
    with pytest.raises(OSError, match=r"^s\.h5 was not written: the disk is full"):
        embeddings(9).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
