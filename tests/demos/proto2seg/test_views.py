"""Letters of classes differ and can be read, marks lie in their regions, and every patch has a dot."""

import re

import numpy as np

from demos.proto2seg.plane_view import plane, plane_dots
from demos.proto2seg.samples import load
from demos.proto2seg.session import Session
from demos.proto2seg.views import ink, letters, stopwatch
from demos.shared.markup import region_marks
from histolab_lite.methods.proto2seg import MIXTURE

CLUSTERS = load().clusters


def test_each_class_has_its_own_letter_and_none_that_of_mixed_clusters():
    assert letters(("background", "stroma", "necrosis", "normal gland")) == ("B", "S", "N", "G")
    given = letters(("muscle", "mucin", "m", "muscle mass", "123", "мышца"))
    assert len(set(given)) == 6
    assert "M" not in given


def test_letters_can_be_read_on_their_colour():
    """Contrast of WCAG 2.2's level AA."""

    def luminance(colour) -> float:
        linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    for colour in [*CLUSTERS.palette, (117, 117, 117), (119, 119, 119)]:
        below, above = sorted([luminance(colour), 0.0 if ink(colour) == "#000" else 1.0])
        assert (above + 0.05) / (below + 0.05) >= 4.5


def test_marks_lie_in_their_largest_region():
    ids = np.zeros((8, 8), int)
    ids[2:7, 2:7] = 1
    ids[0, 0] = 2  # too small to bear a mark
    svg = region_marks(ids, {0: "A", 1: "B"}, (80, 160))
    marks = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)".*?>(\w)</text>', svg)
    assert [letter for _, _, letter in marks] == ["A", "B"]
    assert marks[1][:2] == ("90.0", "45.0")


def test_the_plane_shows_every_patch_and_every_name():
    assert plane_dots(CLUSTERS).count("h0") == len(CLUSTERS.labels)
    session = Session(CLUSTERS).apply([["name", 0, 3, 1], ["name", 5, MIXTURE, 1], ["go", 7]])
    shown = plane(session)
    assert re.findall(r"<text.*?>(.*?)</text>", shown) == ["L", "✕", "8"]
    assert "Cluster 8 is outlined: no name yet." in shown
    assert shown.rindex('data-go="7"') == shown.rindex("data-go")  # nothing lies over the cluster in view


def test_the_stopwatch_compares_with_the_paper():
    session = Session(CLUSTERS)
    assert {"26 s", "8 min 50 s", "1 min 59 s"} <= set(re.findall("<b>(.*?)</b>", stopwatch(session)))
    assert "You," not in stopwatch(session)
    shown = stopwatch(session.apply([["key", 0, 8], ["next", 0], ["key", MIXTURE, 3]]))
    assert "5.5 s" in shown
    assert "2 min 12 s" in shown  # 24 clusters
