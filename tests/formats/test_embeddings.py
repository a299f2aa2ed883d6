"""Embeddings come back as they were stored, in TRIDENT's layout, and other or damaged files are refused."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.data.slide_files import SlideFile
from histolab_lite.formats.embeddings import SlideEmbeddings, stack
from histolab_lite.formats.hdf5 import BLOCK, DamagedError
from histolab_lite.formats.trident import read_attributes
from tests.flips import flipped
from tests.formats.slide_embeddings import embeddings

FIELDS = [name for name in SlideEmbeddings.__dataclass_fields__ if name not in ("features", "coords")]
SCALE = {"patch_size": 256, "patch_size_level0": 512, "mpp": 0.5}


def assert_alike(one, other):
    for field in FIELDS:
        assert getattr(one, field) == getattr(other, field), field
    assert (one.features.dtype, one.coords.dtype) == (other.features.dtype, other.coords.dtype)
    np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_array_equal(one.coords, other.coords)


def write(path, features, coords, **attributes):
    """Write a file as other programs do; the attributes are those of the coordinates."""
    with h5py.File(path, "w") as file:
        file["features"] = np.asarray(features, np.float32)
        file.create_dataset("coords", data=coords).attrs.update(attributes)
    return path


def trident(path, **changes):
    """Write what TRIDENT writes of patches of 256 px at 20x of a slide at 40x."""
    stated = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "target_magnification": 20}
    stated |= {"overlap": 64, "name": "theirs", "level0_width": 9000, "level0_height": 8000} | changes
    stated = {key: value for key, value in stated.items() if value is not None}
    return write(path, np.ones((4, 6)), np.arange(8).reshape(4, 2) * 512, **stated)


text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)


@settings(max_examples=40)
@given(data=st.data())
def test_what_is_saved_comes_back(tmp_path_factory, data):
    count, length = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 4))
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    finite = st.floats(allow_nan=False, allow_infinity=False, width=np.dtype(dtype).itemsize * 8)
    patch, side = data.draw(st.integers(1, 2000)), data.draw(st.integers(1, 2000))
    size = data.draw(st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)))
    corners = [data.draw(hnp.arrays(np.int64, count, elements=st.integers(1 - side, end - 1))) for end in size]
    scale = st.floats(1e-3, 1e3)
    stored = SlideEmbeddings(
        name=data.draw(text.filter(lambda name: name not in ("", "None"))),
        features=data.draw(hnp.arrays(dtype, (count, length), elements=finite)),
        coords=np.stack(corners, axis=1),
        patch_size=patch,
        patch_size_level0=side,
        mpp=data.draw(scale),
        overlap=data.draw(st.integers(0, patch - 1)),
        slide_mpp=data.draw(st.none() | scale),
        slide_size=data.draw(st.sampled_from([None, size])),
        encoder=data.draw(text.filter(lambda name: name != "None")),
        encoder_revision=data.draw(st.sampled_from(["", "0123456789ab"])),
        min_tissue=data.draw(st.none() | st.floats(0, 1)),
        slide_file=data.draw(st.none() | st.builds(SlideFile, st.integers(0, 2**62), st.integers(0, 2**62), text)),
    )
    assert_alike(stored, SlideEmbeddings.load(stored.save(tmp_path_factory.getbasetemp() / "roundtrip.h5")))


def test_every_attribute_stands_where_tridents_readers_look(tmp_path):
    path = embeddings().save(tmp_path / "results" / "slide-1.h5")
    with h5py.File(path) as file:
        assert {key: (file[key].shape, file[key].dtype) for key in file} == {
            "features": ((5, 3), np.float32),
            "coords": ((5, 2), np.int64),
        }
        stated = {key: dict(file[key].attrs) for key in file}
    common = {"name": "slide-1", "savetodir": "results"}  # and no more of the path
    made_by = {"encoder": "default", "encoder_revision": "0123456789ab"}
    slide = {"slide_bytes": 1234567, "slide_modified": 1764352800123456789, "slide_sha256": "ab" * 32}
    assert stated["features"] == common | made_by | slide
    assert stated["coords"].pop("level0_magnification") == pytest.approx(10 / 0.2495)
    whole = {"patch_size": 256, "patch_size_level0": 513, "target_magnification": 20, "overlap": 128}
    whole |= {"level0_width": 4001, "level0_height": 2999}
    assert stated["coords"] == common | whole | {"mpp": 0.5, "level0_mpp": 0.2495, "min_tissue": 0.5}
    assert all(np.issubdtype(type(stated["coords"][key]), np.integer) for key in whole)
    assert read_attributes(path)["n_patches"] == 5


def test_tridents_files_are_read(tmp_path):
    loaded = SlideEmbeddings.load(trident(tmp_path / "t.h5"))
    assert (loaded.name, loaded.patch_size, loaded.patch_size_level0, loaded.overlap) == ("theirs", 256, 512, 64)
    assert (loaded.mpp, loaded.slide_mpp, loaded.slide_size) == (0.5, 0.25, (9000, 8000))
    assert (loaded.encoder, loaded.min_tissue, loaded.slide_file) == ("", None, None)
    np.testing.assert_array_equal(loaded.centres, np.arange(8).reshape(4, 2) * 512 + 256)
    older = {"patch_size_level0": None, "level0_width": None, "overlap": "None", "name": np.bytes_(b"old")}
    loaded = SlideEmbeddings.load(trident(tmp_path / "old.h5", **older))
    assert (loaded.patch_size_level0, loaded.slide_size, loaded.overlap, loaded.name) == (512, None, 0, "old")
    features, coords = np.arange(8).reshape(1, 4, 2), np.arange(8).reshape(1, 4, 2)  # an axis for the slide
    for name, corners in (("2d", coords[0]), ("3d", coords)):
        loaded = SlideEmbeddings.load(write(tmp_path / f"{name}.h5", features, corners), **SCALE)
        np.testing.assert_array_equal(loaded.features, features[0])
        np.testing.assert_array_equal(loaded.coords, coords[0])
        assert loaded.name == name


def test_clams_files_need_a_scale(tmp_path):
    arrays = np.ones((3, 2)), np.arange(6, dtype=np.int32).reshape(3, 2)
    bare = write(tmp_path / "clam.h5", *arrays)
    with pytest.raises(
        ValueError, match=r"not state patch_size and patch_size_level0 and mpp.*load\(path, patch_size="
    ):
        SlideEmbeddings.load(bare)
    loaded = SlideEmbeddings.load(bare, **SCALE)
    assert (loaded.slide_mpp, loaded.coords.dtype) == (0.25, np.int64)
    patches = write(tmp_path / "with.h5", *arrays, patch_size=256, downsample=(4.0, 4.0002), level_dim=(500, 400))
    with pytest.raises(ValueError, match=r"not state mpp\..*load\(path, mpp=\.\.\.\)"):
        SlideEmbeddings.load(patches)
    assert SlideEmbeddings.load(patches, mpp=1.0).patch_size_level0 == 1024


def refuse(path, keyword):
    for read in (SlideEmbeddings.load, read_attributes):
        with pytest.raises(ValueError, match=f"^{path.name}.*{keyword}") as caught:
            read(path)
        assert str(path.parent) not in str(caught.value)
    return caught.type


def virtual():
    layout = h5py.VirtualLayout((5, 3), np.float32)
    layout[:] = h5py.VirtualSource("secret.h5", "features", (5, 3))
    return layout


@pytest.mark.parametrize(
    ("write_features", "keyword"),
    [
        (lambda file: file.update(imgs=np.zeros((3, 2))), "no dataset 'features'; it has .*imgs"),
        (lambda file: file.update(features=np.zeros(768)), "one vector for the whole slide"),
        (lambda file: file.update(features=np.zeros((2, 3, 4))), r"'features' has the shape \(2, 3, 4\)"),
        (lambda file: file.update(features=np.zeros((1, 1, 3, 4))), "'features' has the shape"),
        (lambda file: file.create_group("features/deeper"), "no dataset 'features'"),
        (lambda file: file.create_dataset("features", (10**9, 10**4), np.float32), "never written"),  # 40 TB of zeros
        # These would read another file of this computer.
        (lambda file: file.update(features=h5py.ExternalLink("secret.h5", "features")), "no dataset 'features'"),
        (lambda file: file.create_virtual_dataset("features", virtual()), "no dataset 'features'"),
        (lambda file: file.create_dataset("features", (5, 3), "f4", external=[("secret.h5", 0, 60)]), "no dataset"),
    ],
)
def test_other_contents_are_refused(tmp_path, monkeypatch, write_features, keyword):
    monkeypatch.chdir(tmp_path)
    embeddings().save("secret.h5")
    with h5py.File("other.h5", "w") as file:
        write_features(file)
        file["coords"] = np.zeros((5, 2), int)
    refuse(tmp_path / "other.h5", keyword)


def test_other_and_incomplete_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.h5: there is no such"):
        SlideEmbeddings.load(tmp_path / "no.h5")
    path = tmp_path / "some.h5"
    path.write_text("not HDF5")
    refuse(path, "no HDF5 file")
    whole = write(path, np.ones((200, 64)), np.zeros((200, 2), int)).read_bytes()
    path.write_bytes(whole[:50_000])
    refuse(path, "incomplete")
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((3, 2))
    refuse(path, "no dataset 'coords'")
    whole = embeddings(200, 64, slide_size=None).save(path).read_bytes()
    for kept in (0, 10, 300, len(whole) * 3 // 4):
        path.write_bytes(whole[:kept])
        assert refuse(path, "damaged or incomplete") is DamagedError


def test_every_flipped_bit_is_noticed(tmp_path):
    path = embeddings().save(tmp_path / "s.h5")
    content = path.read_bytes()
    with h5py.File(path) as file:
        chunks = {key: file[key].id.read_direct_chunk((0, 0))[1] for key in ("features", "coords")}
    for _, damaged in [*flipped(content, 150), *flipped(content[:BLOCK], 150)]:
        path.write_bytes(damaged + content[len(damaged) :])
        refuse(path, "(is damaged|is no HDF5|was changed)")
    for key, chunk in chunks.items():  # other readers notice it, too
        assert content.count(chunk) == 1
        for _, damaged in flipped(chunk, 50):
            path.write_bytes(content.replace(chunk, damaged))
            with h5py.File(path) as file, pytest.raises(OSError, match="read data"):
                file[key][()]


def test_a_wrong_checksum_in_a_file_of_others_is_noticed(tmp_path):
    path = trident(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        del file["features"]
        file.create_dataset("features", data=np.ones((4, 6)), fletcher32=True)
        chunk = file["features"].id.read_direct_chunk((0, 0))[1]
    content = path.read_bytes()
    assert content.count(chunk) == 1
    path.write_bytes(content.replace(chunk, bytes([chunk[0] ^ 1]) + chunk[1:]))
    with pytest.raises(ValueError, match=r"t\.h5 is damaged\. Copy it again"):
        SlideEmbeddings.load(path)


def test_a_file_that_another_program_extended_is_not_called_damaged(tmp_path):
    path = embeddings().save(tmp_path / "s.h5")
    with h5py.File(path, "r+") as file:
        file["labels"] = np.arange(5000)
    assert refuse(path, "was changed by another program") is ValueError


def test_files_of_earlier_versions_are_read(tmp_path):
    """They had neither digest nor checksums, and did not state the slide's file."""
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file, h5py.File(embeddings().save(tmp_path / "now.h5")) as now:
        for key in ("features", "coords"):
            stated = {name: value for name, value in now[key].attrs.items() if not name.startswith("slide_")}
            file.create_dataset(key, data=now[key][()]).attrs.update(stated)
    assert_alike(SlideEmbeddings.load(path), embeddings(slide_file=None))


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"patch_size": "large"}, "patch_size must be a number of at least 0, not 'large'"),
        ({"level0_width": -4}, "level0_width must be"),
        ({"mpp": float("nan")}, "mpp must be"),
        ({"mpp": float("inf")}, "mpp must be"),
        ({"level0_width": 1000}, "3 of 4 patches lie outside the slide of 1000 x 8000"),
        ({"overlap": 256}, "share 256 px"),
    ],
)
def test_bad_attributes_are_refused(tmp_path, changes, keyword):
    with pytest.raises(ValueError, match=keyword):
        SlideEmbeddings.load(trident(tmp_path / "t.h5", **changes))


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"features": np.zeros((4, 3), np.float32)}, "4 features but 5 coordinates"),
        ({"features": np.zeros((5, 0), np.float32)}, r"\(N, D\)"),
        ({"features": np.zeros((5, 3), int)}, "features are floats"),
        ({"features": np.array([[np.inf], [np.nan], [0], [0], [0]])}, "2 of 5 patches have NaN"),
        ({"coords": np.zeros((5, 3), int)}, r"\(N, 2\)"),
        ({"coords": np.full((5, 2), 0.5)}, "whole numbers"),
        ({"coords": np.array([[0, 0]] * 4 + [[-513, 0]])}, "1 of 5 patches lie outside"),
        ({"coords": np.array([[0, 0]] * 4 + [[0, 2999]])}, "1 of 5 patches lie outside"),
        ({"name": ""}, "need the name"),
        ({"mpp": 0.0}, "must be positive"),
        ({"slide_mpp": float("nan")}, "must be positive"),
        ({"patch_size_level0": 0}, "impossible"),
        ({"overlap": -1}, "impossible"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, keyword):
    with pytest.raises(ValueError, match=keyword):
        embeddings(**changes)


def test_patches_may_stick_out_of_the_slide():
    assert len(embeddings(2, coords=np.array([[-512.0, 0.0], [4000.0, 2998.0]]))) == 2


def test_slides_that_were_embedded_alike_are_joined():
    one, two, empty = embeddings(2), embeddings(3, name="slide-2", slide_size=None), embeddings(0, name="slide-3")
    features, index = stack([one, two, empty])
    np.testing.assert_array_equal(features, np.concatenate([one.features, two.features]))
    assert index.tolist() == [0, 0, 1, 1, 1]
    for changes in ({"encoder": "a"}, {"encoder_revision": "f"}, {"mpp": 1.0}, {"patch_size": 224}, {"length": 4}):
        with pytest.raises(
            ValueError, match="slide-1 and slide-2 cannot be compared: the one has default 0123456789ab"
        ):
            stack([one, embeddings(3, name="slide-2", **changes)])
    with pytest.raises(ValueError, match="no embeddings"):
        stack([])
