"""The challenge on phantom slides: whole, as described, the same every time, and never half there."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histolab_lite.data import phantom as slides
from histolab_lite.methods.wsss4luad import (
    check_dataset,
    foreground,
    make_phantom,
    read_evaluation,
    read_training,
    score_submission,
    training_masks,
)
from histolab_lite.methods.wsss4luad.challenge import phantom as module
from histolab_lite.methods.wsss4luad.challenge.phantom import challenge_mask

SMALL = dict(
    n_training=40,
    n_validation=(3, 0),
    n_testing=(2, 1),
    n_slides=(2, 1, 1),
    slide=192,
    mpp=2.0,  # small slides that show much
    patch=(24, 40),
    small=(50, 90),
    large=(100, 120),
    progress=False,
)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pooch.os_cache", lambda name: tmp_path_factory.getbasetemp() / name)
        yield


@pytest.fixture(scope="module")
def root(own_cache, tmp_path_factory):
    return make_phantom(tmp_path_factory.mktemp("made") / "phantom", **SMALL, seed=3)


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_it_is_a_whole_data_set(root):
    assert [problem for problem in check_dataset(root) if problem.level == "error"] == []
    assert sorted(path.name for path in root.iterdir()) == ["1.training", "2.validation", "3.testing", "phantom.json"]
    assert len(list(root.rglob("*.png"))) == 40 + 3 * (3 + 2 + 1)
    assert sorted(path.name for path in root.parent.iterdir()) == ["phantom"]  # nothing temporary is left


def test_training_patches_are_of_the_slides_and_places_that_their_names_say(root):
    patches = read_training(root)
    assert Counter(patch.slide for patch in patches) == {"003000": 20, "003001": 20}
    made = {f"{seed:06d}": slides.phantom_slide(seed, 192, 2.0) for seed in (3000, 3001)}
    for patch in patches:
        image, slide = patch.image(), made[patch.slide]
        height, width = image.shape[:2]
        assert 24 <= min(height, width)
        assert max(height, width) <= 40
        window = np.s_[patch.y : patch.y + height, patch.x : patch.x + width]
        assert (image == slide.image[window]).all()
        tissue = foreground(slide.image)[window] & (slide.mask[window] != 0)
        names = np.array(slides.CLASS_NAMES)[slide.mask[window][tissue]]
        shares = [
            np.isin(names, ("tumour", "necrosis")).mean(),
            np.isin(names, ("stroma", "lymphocytes")).mean(),
            (names == "normal gland").mean(),
        ]
        assert tuple(int(share > 0.05) for share in shares) == patch.tags


def test_masks_are_the_phantoms_in_the_challenges_classes(root):
    slide = slides.phantom_slide(5, 128, 2.0)
    white = ~foreground(slide.image)
    expected = {"tumour": 0, "necrosis": 0, "stroma": 1, "lymphocytes": 1, "normal gland": 2, "background": 3}
    found = challenge_mask(slide.image, slide.mask)
    assert found.dtype == np.uint8
    for number, name in enumerate(slides.CLASS_NAMES):
        inside = slide.mask == number
        assert (found[inside & ~white] == expected[name]).all()
    assert (found[white] == 3).all()
    assert white[slide.mask != 0].any()  # lumens


def test_small_pictures_come_first_and_the_masks_belong_together(root):
    for split, sides in (("validation", [(50, 90)] * 3), ("testing", [(50, 90)] * 2 + [(100, 120)])):
        pictures = read_evaluation(root, split)
        assert [picture.name for picture in pictures] == ["00", "01", "02"]
        for picture, (least, greatest) in zip(pictures, sides, strict=True):
            stored = np.asarray(Image.open(picture.mask_path))
            assert least <= min(stored.shape)
            assert max(stored.shape) <= greatest
            assert picture.image().shape == (*stored.shape, 3)
            assert (picture.background() == (stored == 3)).all()
    large = slides.phantom_slide(3999, stored.shape, 2.0)
    assert (picture.image() == large.image).all()
    assert (stored == challenge_mask(large.image, large.mask)).all()


def test_the_truth_scores_1(root):
    assert score_submission(root / "3.testing/mask", root / "3.testing").mean_iou == 1


def test_the_same_settings_make_the_same_files_and_another_seed_others(root, tmp_path):
    again = make_phantom(tmp_path / "again", **SMALL, seed=3)
    assert contents(again) == contents(root)
    less = {"n_training": 5, "n_slides": (1, 1, 1), "n_testing": (1, 0)}
    other = make_phantom(tmp_path / "other", **{**SMALL, **less}, seed=4)
    assert {patch.slide for patch in read_training(other)} == {"004000"}
    pixels = [{digest for name, digest in contents(folder).items() if "/img/" in name} for folder in (root, other)]
    assert not pixels[0] & pixels[1]


def test_a_finished_data_set_is_left_as_it_is(root, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("nothing is to be made")

    monkeypatch.setattr(module, "_slides", never)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make_phantom(str(root), **SMALL, seed=3) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_what_is_there_already_and_differs_is_not_touched(root, tmp_path):
    before = contents(root)
    with pytest.raises(ValueError, match=r"other settings \(n_training, seed\)"):
        make_phantom(root, **{**SMALL, "n_training": 9}, seed=5)
    assert contents(root) == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no phantom data set"):
        make_phantom(tmp_path, **SMALL)
    with pytest.raises(ValueError, match="is no phantom data set"):
        make_phantom(tmp_path / "thesis.txt", **SMALL)
    (tmp_path / "phantom.json").write_text("[]")
    with pytest.raises(ValueError, match="is no phantom data set"):
        make_phantom(tmp_path, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_another_version_of_the_generator_is_told(root, tmp_path):
    (tmp_path / "old").mkdir()
    settings = json.loads((root / "phantom.json").read_text())
    (tmp_path / "old" / "phantom.json").write_text(json.dumps({**settings, "generator": "0"}))
    with pytest.raises(ValueError, match=r"other settings \(generator\)"):
        make_phantom(tmp_path / "old", **SMALL, seed=3)


def test_a_run_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(module, "_large", fail)
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError, match="power cut"):
        make_phantom(tmp_path / "out", **SMALL, seed=3)
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_two_that_make_the_same_at_once_agree(root, tmp_path, monkeypatch):
    """The other one finishes first."""
    out, large = tmp_path / "out", module._large

    def meanwhile(*arguments: object) -> object:
        monkeypatch.setattr(module, "_large", large)
        make_phantom(out, **SMALL, seed=3)
        return large(*arguments)

    monkeypatch.setattr(module, "_large", meanwhile)
    assert make_phantom(out, **SMALL, seed=3) == out
    assert contents(out) == contents(root)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"n_training": 0}, "at least one training patch"),
        ({"n_validation": (0, 0)}, "at least one training patch"),
        ({"n_testing": (-1, 2)}, "at least one training patch"),
        ({"n_slides": (1, 0, 1)}, "a slide or more of each kind"),
        ({"n_slides": (999, 1, 1)}, "1000 in all"),
        ({"seed": -1}, "a seed of 0 or more"),
        ({"patch": (30, 20)}, "patch is the least and the greatest side"),
        ({"small": (0, 20)}, "small is the least and the greatest side"),
        ({"small": (50, 193)}, "small of up to 193 px does not fit slides of 192 px"),
        ({"large": (63, 90)}, "have at least 64 px"),
        ({"slide": 50, "patch": (9, 9), "small": (9, 9)}, "have at least 64 px"),
        ({"mpp": 3.0}, "mpp is 3.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, changed, reason):
    with pytest.raises(ValueError, match=reason):
        make_phantom(tmp_path / "out", **{**SMALL, **changed})
    assert not (tmp_path / "out").exists()


def test_a_phantoms_training_patches_have_masks_that_agree_with_their_tags(root):
    masks = training_masks(root)
    for patch, mask in zip(read_training(root), masks, strict=True):
        assert mask.shape == patch.image().shape[:2]
        tissue = mask != 255
        assert patch.tags == tuple(int((mask == k).sum() > 0.05 * tissue.sum()) for k in range(3))


def test_masks_of_another_version_or_of_real_patches_are_refused(root, tmp_path):
    with pytest.raises(ValueError, match="no phantom"):
        training_masks(tmp_path)
    settings = json.loads((root / "phantom.json").read_text()) | {"generator": "another"}
    (tmp_path / "phantom.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="another version"):
        training_masks(tmp_path)
