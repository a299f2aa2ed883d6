"""Table I, and an entry at its place in it."""

import io
import math

import pytest
from rich.console import Console

from histolab_lite.methods.wsss4luad import LEADERBOARD, Scores, rank, table


def lines(scores: Scores, name: str = "ours", width: int = 100) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(scores, name))
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_the_rows_are_the_papers():
    assert len(LEADERBOARD) == 14
    for row in LEADERBOARD:  # a wrong digit would break the mean
        assert row.mean_iou == pytest.approx((row.tumour + row.normal + row.stroma) / 3, abs=1.01e-4), row.team
    means = [row.mean_iou for row in LEADERBOARD]
    assert means == sorted(means, reverse=True)
    assert sum(mean > 0.8 for mean in means) == 5  # Sect. IV-C and the abstract
    assert LEADERBOARD[0] == ("ChunhuiLin", 0.8413, 0.8389, 0.8919, 0.7931)
    best = {column: max(LEADERBOARD, key=lambda row: getattr(row, column)).team for column in ("tumour", "normal")}
    assert best == {"tumour": "baseline0412", "normal": "ChunhuiLin"}


@pytest.mark.parametrize(
    ("mean", "place"), [(0.9, 1), (0.8413, 2), (0.80575, 4), (0.7064, 15), (0.1, 15), (math.nan, 15)]
)
def test_an_entry_stands_behind_those_that_are_as_good(mean, place):
    scores = Scores(mean, tumour=0.1234, stroma=0.5678, normal=math.nan)
    assert rank(scores) == place
    header, *rows = lines(scores)
    assert header == ["team", "mIoU", "tumour", "normal", "stroma"]
    expected = [[row.team, *(f"{value:.4f}" for value in row[1:])] for row in LEADERBOARD]
    shown = "–" if math.isnan(mean) else f"{mean:.4f}"
    expected.insert(place - 1, ["ours", shown, "0.1234", "–", "0.5678"])  # normal before stroma, as in Table I
    assert rows == [[str(position), *row] for position, row in enumerate(expected, start=1)]


def test_a_name_is_no_markup_and_a_narrow_terminal_loses_no_score():
    assert "[bold]x[/]" in lines(Scores(0.9, 0.9, 0.9, 0.9), "[bold]x[/]")[1]
    assert any("0.8413" in line for line in lines(Scores(0.9, 0.9, 0.9, 0.9), "a" * 90, width=60))
