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
from tests.methods.refused import refused

#: Small slides that show much.
SIDES = {"slide": 192, "mpp": 2.0, "patch": (24, 40), "small": (50, 90), "large": (100, 120), "progress": False}
SMALL = {"n_training": 40, "n_validation": (3, 0), "n_testing": (2, 1), "n_slides": (2, 1, 1), **SIDES}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pooch.os_cache", lambda name: tmp_path_factory.getbasetemp() / name)
        yield


@pytest.fixture(scope="module")
def root(own_cache, tmp_path_factory):
    return make_phantom(tmp_path_factory.mktemp("made") / "phantom", **SMALL, seed=3)


def contents(root: Path) -> dict[str, str]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_is_a_whole_data_set_whose_truth_scores_1(root):
    assert [problem for problem in check_dataset(root) if problem.level == "error"] == []
    assert sorted(path.name for path in root.iterdir()) == ["1.training", "2.validation", "3.testing", "phantom.json"]
    assert len(list(root.rglob("*.png"))) == 40 + 3 * (3 + 2 + 1)
    assert [path.name for path in root.parent.iterdir()] == ["phantom"]  # nothing temporary is left
    assert root.stat().st_mode & 0o777 == 0o755  # others may read it
    assert score_submission(root / "3.testing/mask", root / "3.testing").mean_iou == 1


def test_training_patches_and_masks_are_of_the_slides_and_places_that_their_names_say(root):
    patches = read_training(root)
    assert Counter(patch.slide for patch in patches) == {"003000": 20, "003001": 20}
    made = {f"{seed:06d}": slides.phantom_slide(seed, 192, 2.0) for seed in (3000, 3001)}
    for patch, mask in zip(patches, training_masks(root), strict=True):
        image, slide = patch.image(), made[patch.slide]
        assert 24 <= min(mask.shape) <= max(mask.shape) <= 40
        window = np.s_[patch.y : patch.y + mask.shape[0], patch.x : patch.x + mask.shape[1]]
        assert np.array_equal(image, slide.image[window])
        expected = challenge_mask(slide.image, slide.mask)[window]
        assert np.array_equal(mask, np.where(expected == 3, 255, expected))
        tissue = mask != 255
        assert patch.tags == tuple(int((mask == k).sum() > 0.05 * tissue.sum()) for k in range(3))


def test_masks_are_the_phantoms_in_the_challenges_classes():
    slide = slides.phantom_slide(5, 128, 2.0)
    white = ~foreground(slide.image)
    expected = {"tumour": 0, "necrosis": 0, "stroma": 1, "lymphocytes": 1, "normal gland": 2, "background": 3}
    found = challenge_mask(slide.image, slide.mask)
    assert found.dtype == np.uint8
    for number, name in enumerate(slides.CLASS_NAMES):
        assert (found[(slide.mask == number) & ~white] == expected[name]).all()
    assert (found[white] == 3).all()
    assert white[slide.mask != 0].any()  # lumens


def test_small_images_come_first_and_the_masks_belong_together(root):
    for split, sides in (("validation", [(50, 90)] * 3), ("testing", [(50, 90)] * 2 + [(100, 120)])):
        images = read_evaluation(root, split)
        assert [image.name for image in images] == ["00", "01", "02"]
        for image, (least, greatest) in zip(images, sides, strict=True):
            stored = np.asarray(Image.open(image.mask_path))
            assert least <= min(stored.shape) <= max(stored.shape) <= greatest
            assert image.image().shape == (*stored.shape, 3)
            assert np.array_equal(image.background(), stored == 3)
    large = slides.phantom_slide(3999, stored.shape, 2.0)
    assert np.array_equal(image.image(), large.image)
    assert np.array_equal(stored, challenge_mask(large.image, large.mask))


def test_another_seed_shares_no_slide(root, tmp_path):
    less = {"n_training": 5, "n_slides": (1, 1, 1), "n_testing": (1, 0)}
    other = make_phantom(tmp_path / "other", **SMALL | less, seed=4)
    assert {patch.slide for patch in read_training(other)} == {"004000"}
    pixels = [{digest for name, digest in contents(folder).items() if "/img/" in name} for folder in (root, other)]
    assert not pixels[0] & pixels[1]


def test_a_finished_data_set_is_left_as_it_is(root, monkeypatch):
    monkeypatch.setattr(module, "_slides", lambda *_: 1 / 0)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make_phantom(str(root), **SMALL, seed=3) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_other_files_and_other_settings_in_its_place_are_not_touched(root, tmp_path):
    before = contents(root)
    refused(r"other settings \(n_training, seed\)", lambda: make_phantom(root, **SMALL | {"n_training": 9}, seed=5))
    assert contents(root) == before
    thesis, settings = tmp_path / "thesis.txt", tmp_path / "phantom.json"
    thesis.write_text("mine")
    for stored in ("[]", "{"):
        settings.write_text(stored)
        refused("no phantom data set", lambda place: make_phantom(place, **SMALL, seed=3), tmp_path, thesis)
    settings.write_text(json.dumps(json.loads((root / "phantom.json").read_text()) | {"generator": "0"}))
    refused(r"other settings \(generator\)", lambda: make_phantom(tmp_path, **SMALL, seed=3))
    refused("another version", lambda: training_masks(tmp_path))
    refused("no phantom", lambda: training_masks(tmp_path / "nowhere"))
    assert thesis.read_text() == "mine"


def test_a_run_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_large", lambda *_: 1 / 0)
    (tmp_path / "out").mkdir()
    with pytest.raises(ZeroDivisionError):
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


def test_impossible_settings_are_refused(tmp_path):
    def make(changed: dict) -> None:
        make_phantom(tmp_path / "out", **SMALL | changed)

    refused("training patch", make, {"n_training": 0}, {"n_validation": (0, 0)}, {"n_testing": (-1, 2)})
    refused("one slide of each kind, at most 1000", make, {"n_slides": (1, 0, 1)}, {"n_slides": (999, 1, 1)})
    refused("seed of 0 or more", make, {"seed": -1})
    refused("the smallest and the largest side", make, {"patch": (30, 20)}, {"small": (0, 20)})
    refused("small of up to 193 px does not fit slides of 192 px", make, {"small": (50, 193)})
    refused("at least 64 px", make, {"large": (63, 90)}, {"slide": 50, "patch": (9, 9), "small": (9, 9)})
    refused("mpp is 3.0", make, {"mpp": 3.0})
    assert not (tmp_path / "out").exists()
