"""Masks from tags: no tissue that was not tagged, agreement counted by hand, words and numbers beside every colour."""

import re

import numpy as np

from demos.mlps.result_views import results
from demos.mlps.results import LAYER, answer, compare
from histolab_lite.methods.mlps.pretrained import TISSUES
from tests.demos.mlps.planted import Networks, logged, patches

ANSWERS = answer(Networks(), patches())


def shown(*tags: tuple[int, tuple[str, ...]]) -> tuple:
    """The comparison of these tags, by patch, with the truth, and what the page shows of it."""
    log = logged(*((patch, name, True) for patch, names in tags for name in (*names, None)))
    found = compare(Networks(), ANSWERS, log)
    return found, results(ANSWERS, found, log)


def test_true_tags_give_the_truth_here():
    np.testing.assert_array_equal(ANSWERS.tags, [[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0]])
    np.testing.assert_array_equal(ANSWERS.shares, np.array(ANSWERS.tags) / 2)
    np.testing.assert_array_equal(ANSWERS.pseudo_masks, ANSWERS.patches.truth)
    found, page = shown((0, ("stroma", "tumour")), (2, ("necrosis", "stroma")))
    assert (found.patches, LAYER) == ([0, 2], "bn7")
    own, true, segmented = found.scores.values()
    assert own.accuracy == true.accuracy == own.mean_iou == 1.0
    assert segmented.accuracy == 0.5
    assert 'data-agree="1.0000"' in page
    assert "Of your 10 tags" in page


def test_a_tissue_that_was_not_tagged_does_not_appear():
    found, page = shown((1, ("stroma",)), (2, ()))
    assert np.unique(found.pseudo_masks[0]).tolist() == [0]
    assert found.pseudo_masks[1] is None
    assert [scores.accuracy for scores in found.scores.values()] == [0.5, 1, 0.5]  # of the patch with tags
    assert "Missed: lymphocytes (50% of the patch)" in page
    assert "No tissue tagged" in page
    assert 'data-agree="0.7000"' in page  # 4 of 5, and 3 of 5
    found, page = shown((0, ()))
    assert found.scores == {}
    assert "correct pixels" not in page


def test_wrong_tags_are_named():
    _, page = shown((0, ("stroma", "tumour", "normal gland")))
    assert "<b>4 of 5</b>" in page
    assert "Tagged, but not there: normal gland" in page


def test_every_mask_has_words_and_numbers_beside_its_colours():
    _, page = shown((0, ("stroma", "tumour")))
    assert page.count('role="img"') == page.count("<svg") == 4
    assert "Truth of patch 1: stroma 50%, tumour 50%" in page
    assert "Segmentation, gated · 50% correct" in page
    numbers = re.findall(r'font-weight="700">(\d)</text>', page)
    assert numbers == ["1", "2", "1", "1", "2"]  # pseudo mask, segmentation, truth
    for number, name in enumerate((*TISSUES, "glass"), 1):
        assert f"<kbd>{number % 6}</kbd> {name}</li>" in page


def test_the_visitors_time_stands_beside_the_papers():
    """Table V: 6.8, 5.2 and 7 minutes for 100 patches, and 177.5, 209.3 and 231.6 for their outlines."""
    _, page = shown((0, ("stroma",)), (1, ("stroma", "tumour")))  # 2 s and 3 s
    for row in ("2.5 s</td><td>4.2 min", "3.1–4.2 s</td><td>5.2–7.0 min", "106–139 s</td><td>178–232 min"):
        assert f"<td>{row}</td>" in page
