"""Simulate how patches get their tags: a network suggests, people confirm or correct, the network learns from it.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. III-C and Fig. 3a: about 500 patches are tagged by hand; the network trained on them tags others; junior
pathologists verify what it is sure of, senior ones correct the rest; all of it trains the next network, "with more
corrected labels, the model improves and the manual intervention decreases". The people of this simulation know the
truth. The paper does not give the threshold of confidence, the number of patches per round or the seconds. There two
people look at every patch; here one is counted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: From indices (m,) of patches to the probabilities (m, K) of their tags.
Predict = Callable[[np.ndarray], np.ndarray]
#: From indices (n,) of labelled patches and their tags uint8 (n, K) to a trained network.
Train = Callable[[np.ndarray, np.ndarray], Predict]


@dataclass(frozen=True)
class Costs:
    """Seconds per patch. The paper gives none: choose your own.

    Attributes
    ----------
    label
        To tag a patch without a suggestion.
    verify
        To check a suggestion of which the network is sure.
    review
        For a senior pathologist, to check a suggestion of which the network is not sure.
    correct
        To change a suggestion, in addition to the check that found it wrong.
    """

    label: float
    verify: float
    review: float
    correct: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(cost) and cost >= 0 for cost in vars(self).values()):
            raise ValueError(f"costs are finite seconds of at least 0; got {self}.")


@dataclass(frozen=True)
class RoundRecord:
    """The work of people in one round. In round 0 they tag without suggestions, because there is no network yet.

    Attributes
    ----------
    number
        Number of the round, from 0.
    known
        Number of patches that the network has learnt from.
    indices
        int64 (m,), the patches labelled in this round.
    confident
        bool (m,), True where the network was sure; all False in round 0.
    right
        bool (m,), True where all suggested tags were true; all False in round 0.
    seconds
        Time of people, by the given `Costs`.
    """

    number: int
    known: int
    indices: np.ndarray
    confident: np.ndarray
    right: np.ndarray
    seconds: float

    @property
    def verified(self) -> int:
        """Number of confident suggestions that were right: the cheap labels."""
        return int((self.confident & self.right).sum())

    @property
    def confirmed(self) -> int:
        """Number of uncertain suggestions that were right."""
        return int((~self.confident & self.right).sum())

    @property
    def corrected(self) -> int:
        """Number of labels that a person had to make, because there was no suggestion or a wrong one."""
        return int((~self.right).sum())

    @property
    def missed(self) -> int:
        """Number of confident suggestions that were wrong: the reason for verification."""
        return int((self.confident & ~self.right).sum())

    @property
    def manual_share(self) -> float:
        """Share of the labels that a person had to make."""
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
    """Label all N patches: `n_initial` without suggestions, then `batch` per round.

    A tag is suggested if its probability is at least 1/2. The network is sure of a patch if each of its K suggestions,
    present or absent, has a probability of at least `threshold`.

    Parameters
    ----------
    train
        Called once before every round with all patches labelled so far, in the order of labelling, and their true tags.
        It may train a new network or fine-tune one. The network is then asked about the patches of this round.
    truth
        True tags, (N, K) of 0 and 1.
    costs
        Seconds per patch.
    n_initial
        Number of patches of round 0; about 500 in the paper.
    batch
        Number of patches per round; the last round may have fewer.
    threshold
        In [0.5, 1].
    seed
        Random seed of the order of patches.

    Returns
    -------
    list of RoundRecord
        One per round, round 0 first.

    Raises
    ------
    ValueError
        For tags of another shape or value, a number out of its range, or a network whose predictions are not
        probabilities (m, K).
    """
    truth = np.asarray(truth)
    if truth.ndim != 2 or 0 in truth.shape or not np.isin(truth, (0, 1)).all():
        raise ValueError(f"expected true tags (N, K) of 0 and 1; got {truth.dtype} {truth.shape}.")
    if not 1 <= n_initial <= len(truth) or batch < 1:
        raise ValueError(
            f"n_initial is 1 to {len(truth)}, the number of patches, and batch at least 1; got {n_initial} and {batch}."
        )
    if not 0.5 <= threshold <= 1:
        raise ValueError(f"threshold is a probability in [0.5, 1], not {threshold}.")
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
        raise ValueError("the network's predictions are no probabilities: some are outside [0, 1].")
    return found
