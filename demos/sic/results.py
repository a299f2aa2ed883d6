"""Clusters from a visitor's seeds: every iteration of Algorithm 1, its confidence, and the patch to click next.

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

HELD = 0.5  # ``anchor`` of ``sic.iterate`` if seeds shall hold the clusters


@dataclass(frozen=True, eq=False)
class Iteration:
    """labels: class ids, uint8 (N,). confidence: float32 (N,). score: F1 on the seeds. text: describes the step."""

    labels: np.ndarray
    confidence: np.ndarray
    score: float
    kept: bool
    text: str


@dataclass(frozen=True, eq=False)
class Answer:
    """answer: number of the last iteration that was kept. lost: patches whose seed ended in another class.
    suggestion: the patch to click next, None if all have a seed."""

    iterations: tuple[Iteration, ...]
    answer: int
    lost: tuple[int, ...]
    suggestion: int | None

    @property
    def best(self) -> Iteration | None:
        return self.iterations[self.answer] if self.iterations else None


def cluster(slide: SeedSlide, work: Work) -> Answer:
    """Cluster the patches, well under a second. Without seeds of two classes there is only a suggestion."""
    seeds = work.labels
    free = (seeds == NONE).any()
    suggestion = sic.suggest(slide.prepared, torch.from_numpy(seeds)) if free else None
    present = np.unique(seeds[seeds != NONE])
    if len(present) < 2:
        return Answer((), 0, (), suggestion)
    # Of two classes, the one named first is the target, whose cluster is divided again.
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
        "plain": f"{divided} was divided by plain k-means, because no other seeds are in it",
    }[step.kind]
    verdict = "" if number == 0 else "; kept" if step.kept else "; not better, so not kept"
    return f"{done}. F1 on your seeds {step.score:.2f}{verdict}."
