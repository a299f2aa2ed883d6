"""What an annotator's time buys: the seconds per act, as the papers measured them, and the labels of a given time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from histolab_lite.methods.labels.images import EncodedImage
from histolab_lite.methods.labels.kinds import KINDS


@dataclass(frozen=True)
class Price:
    """What one act of an annotator costs.

    Attributes
    ----------
    seconds
        The time of one act.
    act
        What the person does.
    source
        Who measured it.
    """

    seconds: float
    act: str
    source: str


#: No paper says how long a click takes. We assume three seconds.
ESTIMATE = "our estimate; the demo shows your own pace"
PRICES: dict[str, Price] = {
    "cluster names": Price(26, "a cluster named", "Proto2Seg, Table 2"),
    "patch tags": Price(3.8, "a patch tagged", "MLPS, Table V: 100 patches in 6.8, 5.2 and 7 min"),
    "single tags": Price(3.8, "a patch tagged", "MLPS, Table V"),
    "image tags": Price(60 + 59, "an image tagged", "Proto2Seg, Table 2"),
    "points": Price(3, "a point clicked", ESTIMATE),
    "seeds": Price(3, "a seed dropped", ESTIMATE),
    "pixel masks": Price(8 * 60 + 50, "an image outlined", "Proto2Seg, Table 2"),
}


@dataclass(frozen=True)
class Annotation:
    """The labels of a person in a given time.

    Attributes
    ----------
    masks
        uint8 (H, W) per image, 255 where nothing is known.
    acts
        How many acts there was time for.
    """

    masks: list[np.ndarray]
    acts: int

    @property
    def empty(self) -> bool:
        """Whether there was no time for a single act."""
        return self.acts == 0


def annotate(
    kind: str,
    images: Sequence[EncodedImage],
    seconds: float,
    n_classes: int,
    seed: int = 0,
    prices: Mapping[str, Price] = PRICES,
) -> Annotation:
    """Simulate the labels of one kind that a person gives in a number of seconds.

    Raises
    ------
    ValueError
        For a kind without a price, no images, a time below 0 or infinite, or a price that is not above 0.
    """
    if kind not in KINDS or kind not in prices:
        raise ValueError(
            f"{kind!r} is not a kind of label with a price; choose one of {', '.join(k for k in KINDS if k in prices)}."
        )
    if not images or not 0 <= seconds < math.inf or not prices[kind].seconds > 0:
        raise ValueError(
            f"labels need images, a finite time of at least 0 and a price above 0; got {len(images)} images, "
            f"{seconds} s at {prices[kind].seconds} s each."
        )
    acts = int(seconds / prices[kind].seconds + 1e-9)  # 41.8 // 3.8 is 10
    if acts == 0:
        return Annotation([image.blank for image in images], 0)
    return Annotation(KINDS[kind](images, acts, n_classes, seed), acts)


def cost_of_all(images: Sequence[EncodedImage], prices: Mapping[str, Price] = PRICES) -> float:
    """Return the seconds to outline every image: full supervision."""
    return len(images) * prices["pixel masks"].seconds
