"""What tags become: no tissue that was not tagged, agreement by hand, and a page that says it without colour."""

import re

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.mlps.log import Header, Log  # noqa: E402
from demos.mlps.patch_sets import PatchSet  # noqa: E402
from demos.mlps.result_views import results  # noqa: E402
from demos.mlps.results import LAYER, answer, compare  # noqa: E402
from histolab_lite.methods.mlps.pretrained import CLASSES, TISSUES  # noqa: E402


class Networks:
    """Left half the first tissue tagged, right half the last; the segmentation says stroma everywhere."""

    def pseudo_masks(self, patches, tags, layers):
        masks = np.zeros(patches.shape[:3], np.uint8)
        for mask, row in zip(masks, tags, strict=True):
            present = np.flatnonzero(row)
            mask[:, :8], mask[:, 8:] = present[0], present[-1]
        return {layer: masks for layer in layers}

    def segment(self, patches):
        return np.zeros(patches.shape[:3], np.uint8)


def sample(number: int = 3) -> PatchSet:
    """Stroma beside tumour in the first patch, beside lymphocytes in the second, …."""
    truth = np.zeros((number, 16, 16), np.uint8)
    for index in range(number):
        truth[index, :, 8:] = index + 1
    header = Header("phantom", "Phantom patches", TISSUES, number, 32)
    pixels = np.zeros((number, 16, 16, 3), np.uint8)
    return PatchSet(header, (b"jpeg",) * number, ((0, 0),) * number, 0.5, "", pixels, truth)


def tagged(*patches: tuple[int, tuple[str, ...]]) -> Log:
    log = Log(sample().header)
    for patch, names in patches:
        for name in names:
            log = log.set(patch, name, True, 1.0)
        log = log.set(patch, None, True, 1.0)
    return log


def test_true_tags_make_the_truth_here():
    answers = answer(Networks(), sample())
    np.testing.assert_array_equal(answers.tags, [[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0]])
    np.testing.assert_array_equal(answers.pseudo_masks, answers.patches.truth)
    found = compare(Networks(), answers, tagged((0, ("stroma", "tumour")), (2, ("necrosis", "stroma"))))
    assert found.patches == [0, 2]
    own, true, segmented = found.scores.values()
    assert own.accuracy == true.accuracy == own.mean_iou == 1.0
    assert segmented.accuracy == 0.5
    assert 'data-agree="1.0000"' in results(answers, found, tagged((0, ("stroma", "tumour"))))


def test_a_tissue_that_was_not_tagged_does_not_appear():
    answers = answer(Networks(), sample())
    found = compare(Networks(), answers, tagged((1, ("stroma",)), (2, ())))
    assert np.unique(found.pseudo_masks[0]).tolist() == [0]
    assert found.pseudo_masks[1] is None
    assert list(found.scores.values())[0].accuracy == 0.5  # of the tagged patch alone
    page = results(answers, found, tagged((1, ("stroma",)), (2, ())))
    assert "Missed: lymphocytes (50% of the patch)" in page
    assert "No tissue tagged" in page
    assert 'data-agree="0.7000"' in page  # 4 of 5, and 3 of 5


def test_without_any_tag_there_is_nothing_to_score():
    answers = answer(Networks(), sample())
    log = tagged((0, ()))
    found = compare(Networks(), answers, log)
    assert found.scores == {}
    assert "right pixels" not in results(answers, found, log)


def test_wrong_tags_are_named():
    answers = answer(Networks(), sample())
    log = tagged((0, ("stroma", "tumour", "normal gland")))
    page = results(answers, compare(Networks(), answers, log), log)
    assert "<b>4 of 5</b>" in page
    assert "Tagged, but not there: normal gland" in page


def test_images_and_regions_have_words_and_numbers():
    answers = answer(Networks(), sample())
    log = tagged((0, ("stroma", "tumour")))
    page = results(answers, compare(Networks(), answers, log), log)
    assert page.count('role="img"') == page.count("<svg") == 4
    assert "Truth of patch 1: stroma 50%, tumour 50%" in page
    numbers = re.findall(r'font-weight="700">(\d)</text>', page)
    assert numbers == ["1", "2", "1", "1", "2"]  # pseudo mask, segmentation, truth
    for name in (*TISSUES, "glass"):
        assert f"</kbd> {name}</li>" in page
    assert len(CLASSES) == 6


def test_the_visitors_pace_stands_beside_the_papers():
    """Table V: 6.8, 5.2 and 7 minutes for 100 patches, and 177.5, 209.3 and 231.6 for their outlines."""
    answers = answer(Networks(), sample())
    log = tagged((0, ("stroma",)), (1, ("stroma", "tumour")))  # 2 s and 3 s
    page = results(answers, compare(Networks(), answers, log), log)
    assert "<td>2.5 s</td><td>4.2 min</td>" in page
    assert "<td>3.1–4.2 s</td><td>5.2–7.0 min</td>" in page
    assert "<td>106–139 s</td><td>178–232 min</td>" in page


def test_the_layer_shown_is_the_deepest():
    assert LAYER == "bn7"
