"""The leaderboard of the test phase (Table I), and the place of a further entry in it."""

import math
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from histolab_lite.methods.wsss4luad.challenge.scores import Scores


class Row(NamedTuple):
    """An entry of the leaderboard; the columns have the table's order."""

    team: str
    mean_iou: float
    tumour: float
    normal: float
    stroma: float


#: The 14 teams with a mean IoU above 0.7 on the challenge's own test set.
LEADERBOARD = (
    Row("ChunhuiLin", 0.8413, 0.8389, 0.8919, 0.7931),
    Row("baseline0412", 0.8222, 0.8402, 0.8343, 0.7921),
    Row("Vison307", 0.8058, 0.8165, 0.8554, 0.7456),
    Row("BinghongWu", 0.8057, 0.8045, 0.8654, 0.7471),
    Row("adbertyoungdalu", 0.8025, 0.7967, 0.8668, 0.7440),
    Row("DPPD", 0.7815, 0.7895, 0.8397, 0.7153),
    Row("chenxl", 0.7714, 0.7897, 0.8159, 0.7088),
    Row("sibet0222", 0.7609, 0.8121, 0.7107, 0.7599),
    Row("guoxutao", 0.7552, 0.8179, 0.6840, 0.7636),
    Row("shichuaneyexi", 0.7411, 0.8192, 0.6714, 0.7325),
    Row("zyw19990916", 0.7382, 0.8080, 0.6868, 0.7196),
    Row("York", 0.7239, 0.8023, 0.6710, 0.6985),
    Row("akiliyu@gmail.com", 0.7199, 0.7557, 0.7248, 0.6791),
    Row("Zlin3000", 0.7064, 0.7493, 0.6863, 0.6837),
)


def rank(scores: Scores) -> int:
    """Give the place among the 14 teams, from 1: behind teams with the same mean IoU, and last if it is NaN."""
    if math.isnan(scores.mean_iou):
        return len(LEADERBOARD) + 1
    return 1 + sum(row.mean_iou >= scores.mean_iou for row in LEADERBOARD)


def table(scores: Scores, name: str) -> Table:
    """Make Table I with a row of this name at its rank; a class that does not occur shows a dash."""
    place = rank(scores)
    own = Row(name, scores.mean_iou, scores.tumour, scores.normal, scores.stroma)
    rows = [*LEADERBOARD[: place - 1], own, *LEADERBOARD[place - 1 :]]
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    result.add_column("", justify="right")
    result.add_column("team", overflow="fold")
    for column in ("mIoU", "tumour", "normal", "stroma"):
        result.add_column(column, justify="right", no_wrap=True)
    for position, row in enumerate(rows, start=1):
        values = ("–" if math.isnan(value) else f"{value:.4f}" for value in row[1:])
        style = "bold green" if position == place else None
        result.add_row(str(position), escape(row.team), *values, style=style)
    return result
