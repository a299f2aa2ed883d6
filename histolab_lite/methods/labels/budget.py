"""What an annotator's time buys: seconds an act, as the papers measured them, and the labels of a given time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from histolab_lite.methods.labels.kinds import KINDS
from histolab_lite.methods.labels.pictures import Picture


@dataclass(frozen=True)
class Price:
    """seconds: of one act. act: what the person does. source: who measured it."""

    seconds: float
    act: str
    source: str


#: No paper says what a click costs. Three seconds are our guess; the demos show your own pace.
GUESS = "our guess; the demo shows your own pace"
PRICES: dict[str, Price] = {
    "cluster names": Price(26, "a cluster named", "Proto2Seg, Table 2"),
    "patch ticks": Price(3.8, "a patch ticked", "MLPS, Table V: 100 patches in 6.8, 5.2 and 7 min"),
    "single ticks": Price(3.8, "a patch ticked", "MLPS, Table V"),
    "picture ticks": Price(60 + 59, "a picture ticked", "Proto2Seg, Table 2"),
    "points": Price(3, "a point clicked", GUESS),
    "seeds": Price(3, "a seed dropped", GUESS),
    "pixel masks": Price(8 * 60 + 50, "a picture outlined", "Proto2Seg, Table 2"),
}


@dataclass(frozen=True)
class Annotation:
    """masks: uint8 (H, W) a picture, 255 where nothing is known. acts: how many there was time for."""

    masks: list[np.ndarray]
    acts: int

    @property
    def empty(self) -> bool:
        """Whether there was no time for a single act."""
        return self.acts == 0


def annotate(
    kind: str,
    pictures: Sequence[Picture],
    seconds: float,
    n_classes: int,
    seed: int = 0,
    prices: Mapping[str, Price] = PRICES,
) -> Annotation:
    """The labels of one kind that a person has time for in so many seconds, as masks of the pictures.

    ValueError for a kind without a price, no pictures, a time below 0, or a price that is not above 0.
    """
    if kind not in KINDS or kind not in prices:
        raise ValueError(
            f"{kind!r} is no kind of label with a price; there are {', '.join(k for k in KINDS if k in prices)}."
        )
    if not pictures or not seconds >= 0 or not prices[kind].seconds > 0:
        raise ValueError(
            f"labels need pictures, a time of at least 0 and a price above 0; got {len(pictures)} pictures, "
            f"{seconds} s at {prices[kind].seconds} s each."
        )
    acts = int(seconds // prices[kind].seconds)
    if acts == 0:
        return Annotation([p.blank for p in pictures], 0)
    return Annotation(KINDS[kind](pictures, acts, n_classes, seed), acts)


def cost_of_all(pictures: Sequence[Picture], prices: Mapping[str, Price] = PRICES) -> float:
    """Seconds to outline every picture: full supervision."""
    return len(pictures) * prices["pixel masks"].seconds
