"""How patches get their tags, simulated: a network suggests, people confirm or correct, the network learns from it.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. III-C and Fig. 3a: about 500 patches are tagged by hand; the network trained on them tags others; junior
pathologists verify what it is sure of, senior ones correct the rest; all of it trains the next network, "with more
corrected labels, the model improves and the manual intervention decreases". The people of this simulation know the
truth. The paper gives neither the threshold of confidence nor how many patches a round has nor seconds, and has two
people look at every patch, of whom one is counted here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Indices (m,) of patches to the probabilities (m, K) of their tags.
Predict = Callable[[np.ndarray], np.ndarray]
#: Indices (n,) of labelled patches and their tags uint8 (n, K) to a trained network.
Train = Callable[[np.ndarray, np.ndarray], Predict]


@dataclass(frozen=True)
class Costs:
    """Seconds a patch; the paper has none, so they are the reader's own.

    label: to tag one from nothing. verify: to look whether a suggestion is right. review: a senior's look at one of
    which the network is not sure. correct: to change a suggestion, in addition to the look that found it wrong.
    """

    label: float
    verify: float
    review: float
    correct: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(cost) and cost >= 0 for cost in vars(self).values()):
            raise ValueError(f"costs are seconds of at least 0; got {self}.")


@dataclass(frozen=True)
class RoundRecord:
    """What one round asked of people. Round 0 is the tagging from nothing, before there is a network.

    indices: int64 (m,), the patches labelled in it. confident: bool (m,), those of which the network was sure.
    right: bool (m,), those whose suggested tags were all true. In round 0 neither holds for any.
    known: how many patches the network had learnt from. seconds: of people, by the ``Costs`` given.
    """

    number: int
    known: int
    indices: np.ndarray
    confident: np.ndarray
    right: np.ndarray
    seconds: float

    @property
    def verified(self) -> int:
        """Confident suggestions that stood: the cheap labels."""
        return int((self.confident & self.right).sum())

    @property
    def confirmed(self) -> int:
        """Uncertain suggestions that stood after a senior's review."""
        return int((~self.confident & self.right).sum())

    @property
    def corrected(self) -> int:
        """Labels that a person had to make, confident ones included; all of round 0."""
        return int((~self.right).sum())

    @property
    def missed(self) -> int:
        """Confident suggestions that were wrong: what a verification is for."""
        return int((self.confident & ~self.right).sum())

    @property
    def manual_share(self) -> float:
        """Share of the round's labels that a person had to make."""
        return self.corrected / len(self.indices)


def simulate_rounds(
    train: Train,
    truth: np.ndarray,
    costs: Costs,
    *,
    n_initial: int,
    batch: int,
    threshold: float,
    seed: int,
) -> list[RoundRecord]:
    """Label all N patches, ``n_initial`` from nothing and then ``batch`` a round; one record a round, round 0 first.

    train(indices, tags): called once before every round with all patches labelled so far, in the order of labelling,
    and their true tags; what it returns is asked about the round's patches alone. It may start afresh or fine-tune.
    truth: (N, K) of 0 and 1. A suggested tag is a probability of at least 1/2; a network is sure of a patch if the
    probability of every one of its K suggestions, present or absent, is at least ``threshold``. The paper's n_initial
    is about 500. Who comes when is random by ``seed``; the last round may be smaller.

    Raises ValueError for tags of another shape or value, numbers out of range, or probabilities (m, K) that are none.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2 or 0 in truth.shape or not np.isin(truth, (0, 1)).all():
        raise ValueError(f"expected true tags (N, K) of 0 and 1; got {truth.dtype} {truth.shape}.")
    if not 1 <= n_initial <= len(truth) or batch < 1:
        raise ValueError(
            f"of {len(truth)} patches 1 to {len(truth)} are labelled first, then 1 or more a round; got {n_initial} "
            f"and {batch}."
        )
    if not 0.5 <= threshold <= 1:
        raise ValueError(f"the threshold is the probability of a suggestion, in [0.5, 1], not {threshold}.")
    truth = truth.astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(truth))
    nothing = np.zeros(n_initial, bool)
    records = [RoundRecord(0, 0, order[:n_initial], nothing, nothing, n_initial * costs.label)]
    for start in range(n_initial, len(truth), batch):
        known, asked = order[:start], order[start : start + batch]
        probabilities = _checked(train(known.copy(), truth[known])(asked.copy()), (len(asked), truth.shape[1]))
        suggested = probabilities >= 0.5
        confident = np.all(np.maximum(probabilities, 1 - probabilities) >= threshold, axis=1)
        right = np.all(suggested == truth[asked], axis=1)
        seconds = confident.sum() * costs.verify + (~confident).sum() * costs.review + (~right).sum() * costs.correct
        records.append(RoundRecord(len(records), start, asked, confident, right, float(seconds)))
    return records


def _checked(probabilities: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    found = np.asarray(probabilities, dtype=float)
    if found.shape != shape:
        raise ValueError(f"expected the probabilities of {shape[0]} patches and {shape[1]} tags; got {found.shape}.")
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError("the network's answers are no probabilities: they leave [0, 1].")
    return found
