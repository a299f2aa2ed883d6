"""What seeds become: every iteration of Algorithm 1, how sure it is, and where a click would tell most.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022;
``histolab_lite.methods.sic``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from demos.sic.session import NONE, Work
from demos.sic.slides import SeedSlide
from histolab_lite.methods import sic

HELD = 0.5  # of ``iterate``: how far seeds hold the centres, where the visitor wants them to


@dataclass(frozen=True, eq=False)
class Iteration:
    """labels: class ids uint8 (N,). confidence: float32 (N,). text: what was done in it."""

    labels: np.ndarray
    confidence: np.ndarray
    score: float
    kept: bool
    text: str


@dataclass(frozen=True, eq=False)
class Answer:
    """answer: which of the iterations, the last that was kept. lost: patches whose seed ended in another class.
    suggestion: the patch to click next, None where all have been."""

    iterations: tuple[Iteration, ...]
    answer: int
    lost: tuple[int, ...]
    suggestion: int | None

    @property
    def best(self) -> Iteration | None:
        return self.iterations[self.answer] if self.iterations else None


def cluster(slide: SeedSlide, work: Work) -> Answer:
    """Well under a second. Without seeds of two classes there are no iterations, and a suggestion all the same."""
    seeds = work.labels
    free = (seeds == NONE).any()
    suggestion = sic.suggest(slide.prepared, torch.from_numpy(seeds)) if free else None
    present = np.unique(seeds[seeds != NONE])
    if len(present) < 2:
        return Answer((), 0, (), suggestion)
    # The class named first is the one sought: of two, the cluster that is divided again.
    positive = int(present[0]) if len(present) == 2 else None
    steps = list(sic.iterate(slide.prepared, torch.from_numpy(seeds), positive, anchor=HELD if work.held else 0.0))
    iterations = tuple(
        Iteration(
            step.labels.numpy().astype(np.uint8),
            step.confidence(slide.prepared).numpy(),
            step.score,
            step.kept,
            _told(number, step, work, positive),
        )
        for number, step in enumerate(steps)
    )
    answer = max(number for number, step in enumerate(steps) if step.kept)
    lost = [patch for patch, name in work.seeds.items() if iterations[answer].labels[patch] != name]
    return Answer(iterations, answer, tuple(lost), suggestion)


def _told(number: int, step: sic.Step, work: Work, positive: int | None) -> str:
    divided = "Every cluster" if positive is None else f"The {work.classes[positive]} cluster"
    done = {
        "start": "Seeded k-means on all patches",
        "seeded": f"{divided} was divided again, by the seeds in it",
        "plain": f"{divided} was divided by plain k-means, for want of other seeds in it",
    }[step.kind]
    verdict = "" if number == 0 else "; kept" if step.kept else "; no better, so not kept"
    return f"{done}. F1 on your seeds {step.score:.2f}{verdict}."
