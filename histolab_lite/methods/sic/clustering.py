"""Seeded iterative clustering: Algorithm 1, one iteration at a time, for two classes or more.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 2.1. Seeded k-means,
whose centres start at the means of the seeds and then move freely, is Basu et al.'s, ICML 2002.

Where the printed algorithm leaves a choice, this is what is done here:

- Its loop runs ``while score ≤ score_prev``, before there is a score, and never updates ``score_prev``; its comment
  says "until defined score goes down", its text "until a score […] does not improve". The text is followed: an
  iteration that does not raise the score ends the loop and is not kept, so the answer is the best one seen.
- Labels of the re-clustered subset index the whole set in the next line. Here patches once out of the positive cluster
  stay out.
- The score compares "only sparse annotations": all of them, not those left in the subset, or losing a seed would pay.
- Plain k-means is printed for a positive cluster with positive seeds alone ({1} ⊂ y), and commented for one with
  negative seeds alone. ``plain="negatives"`` follows the comment. Such a cluster scores 0 before and after, so the
  step is shown by ``iterate`` and never kept. ``plain="positives"`` follows the condition, which serves the stated
  purpose, a tumour much smaller than the cluster around it. No seed can tell whether it helped: it is kept
  unless the score falls, and ends the loop ("an additional step"), for it would halve the cluster for ever.
- Which half of a plain k-means is positive: the one that holds more positive than negative seeds; of equals the one
  nearer to the mean of the positive seeds.
- A cluster without seeds, or of one patch, is left alone.

Beyond the paper: more than two classes, probabilities, and ``anchor``, by which seeds weigh on where centres go.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from histolab_lite.data import IGNORE
from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.kernels.nearest_prototype import nearest_prototype

UNLABELLED = -1
PLAIN = ("negatives", "positives")
Score = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], float]


class Decision(NamedTuple):
    """One k-means: which patches it was about, its centres, and which class (0…K−1) each of them stands for."""

    members: torch.Tensor  # (M,) int64
    centers: torch.Tensor  # (J, D)
    columns: torch.Tensor  # (J,) int64


@dataclass(frozen=True)
class Step:
    """One iteration's answer. Pictures of the loop need ``labels``, a confidence map needs the methods."""

    classes: tuple[int, ...]  # K class ids, ascending
    labels: torch.Tensor  # (N,) int64, class ids
    score: float  # on the seeds
    kind: str  # "start", "seeded" or "plain": what the clusters were last divided by
    kept: bool  # False for the iteration that ended the loop for nothing
    decisions: tuple[Decision, ...] = field(repr=False)

    def probabilities(self, embeddings: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Soft assignment (N, K) float32: rows sum to 1, and the largest of a row is that of the patch's label.

        Each k-means is read as a mixture of Gaussians of one variance and weight, measured along the directions in
        which the centres differ (all others cancel). A patch divided more than once has the probabilities of the last
        time; classes that did not take part have 0. They rank patches well, but are no calibrated probabilities.
        """
        x = _points(embeddings)
        soft = torch.zeros(len(x), len(self.classes), device=x.device)
        for members, centers, columns in self.decisions:
            origin = centers.mean(0)
            _, strength, directions = torch.linalg.svd(centers - origin, full_matrices=False)
            used = directions[strength > 1e-6 * strength.max().clamp(min=1e-12)]  # (R, D), R < J
            y, c = (x[members] - origin) @ used.T, (centers - origin) @ used.T
            distances = torch.cdist(y, c, compute_mode="donot_use_mm_for_euclid_dist").square()  # (M, J)
            variance = distances.amin(1).mean() / max(len(used), 1)
            shares = torch.softmax(-(distances - distances.amin(1, keepdim=True)) / (2 * variance + 1e-12), 1)
            soft[members] = torch.zeros(len(members), len(self.classes), device=x.device).index_add_(1, columns, shares)
        return soft

    def confidence(self, embeddings: torch.Tensor | np.ndarray) -> torch.Tensor:
        """(N,) float32 in [0, 1]: by how much the most probable class leads the second."""
        best, second = self.probabilities(embeddings).topk(2, dim=1).values.unbind(1)
        return best - second


def f1_on_seeds(predicted: torch.Tensor, true: torch.Tensor, positive: Sequence[int]) -> float:
    """F1 of the positive class, the paper's score; the mean of theirs if there are several. (S,), (S,) class ids."""
    scores = []
    for name in positive:
        claimed, real = predicted == name, true == name
        scores.append(2 * int((claimed & real).sum()) / max(int(claimed.sum() + real.sum()), 1))
    return sum(scores) / len(scores)


def iterate(
    embeddings: torch.Tensor | np.ndarray,
    seeds: torch.Tensor | np.ndarray | Sequence[int],
    positive: int | Sequence[int] | None = None,
    plain: str = "negatives",
    anchor: float = 0.0,
    max_steps: int = 20,
    score: Score = f1_on_seeds,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Algorithm 1, one iteration after the other: the first is seeded k-means on all patches.

    embeddings: (N, D) float, best from ``prepare``. seeds: (N,) whole numbers, the class id of a clicked patch and −1
    for all others; two classes or more, each with one seed or more. Nothing is remembered: to add or withdraw a seed,
    change ``seeds`` and call again. Seeds say where clusters start and how good they are; a patch clicked as one class
    may end in another, which its score shows.
    positive: the class whose cluster is divided again and again (class 1 of the paper's 0 and 1), by default the larger
    id of two. Of more classes all are, or those named: patches leave a cluster for the other classes that have
    seeds in it; after a plain k-means, for the class whose mean is nearest.
    plain: when plain k-means is run, "negatives" or "positives" (see the module).
    anchor: 0 is the paper's, where seeds are a start and no more; with a share in (0, 1] every centre is held between
    its patches' mean and its seeds' mean, centre = anchor · seeds' + (1 − anchor) · patches', so each click counts. At
    1 a patch takes the class of the nearest seeds' mean and nothing is clustered.
    score: (predicted, true, positive classes) -> a number, on the seeds. generator: of plain k-means' start; by default
    every call gives the same answer.

    ValueError if the shapes differ, for embeddings that are not finite, or seeds that are no class ids or of one class.
    """
    x = _points(embeddings)
    classes, seeded, given = _read_seeds(seeds, x)
    if positive is None:
        positive = classes[1:] if len(classes) == 2 else classes
    wanted = tuple(positive) if isinstance(positive, Sequence) else (positive,)
    if not wanted or not set(wanted) <= set(classes):
        raise ValueError(f"positive must name classes that have seeds, {list(classes)}; got {positive}.")
    if plain not in PLAIN or max_steps < 0:
        raise ValueError(f"plain must be one of {PLAIN} and max_steps 0 or more; got {plain!r} and {max_steps}.")
    if not 0 <= anchor <= 1:
        raise ValueError(f"anchor is a share from 0 to 1, not {anchor}.")
    generator = generator or torch.Generator(x.device).manual_seed(0)
    ids = torch.tensor(classes, device=x.device)
    means = torch.stack([x[seeded[given == k]].mean(0) for k in range(len(classes))])

    def step(columns: torch.Tensor, kind: str, previous: Step | None, decisions: tuple[Decision, ...]) -> Step:
        reached = score(ids[columns[seeded]], ids[given], wanted)
        better = previous is None or reached > previous.score or (kind == "plain" and reached == previous.score > 0)
        return Step(classes, ids[columns], reached, kind, better, decisions)

    columns, centers = _seeded_kmeans(x, means, anchor)
    everyone, all_of_them = (torch.arange(n, device=x.device) for n in (len(x), len(classes)))
    now = step(columns, "start", None, (Decision(everyone, centers, all_of_them),))
    yield now
    for _ in range(max_steps):
        if not now.kept or now.kind == "plain":
            return
        divided, kinds = columns.clone(), []
        found: list[Decision] = []
        for k in (classes.index(name) for name in wanted):
            members = (columns == k).nonzero()[:, 0]
            here = columns[seeded] == k  # the seeds in this cluster
            present = given[here].unique()
            if len(present) > 1:
                start = torch.stack([x[seeded[here & (given == j)]].mean(0) for j in present])
                halves, centers = _seeded_kmeans(x[members], start, anchor)
                stands_for = present
                kinds.append("seeded")
            elif len(present) == 1 and len(members) > 1 and (present.item() == k) == (plain == "positives"):
                halves, centers, _, _ = kmeans(x[members], 2, generator=generator)
                stands_for = _name_halves(x, k, columns, means, members, halves, centers, seeded, given)
                kinds.append("plain")
            else:
                continue
            divided[members] = stands_for[halves]
            found.append(Decision(members, centers, stands_for))
        if not found:
            return
        columns = divided
        now = step(columns, "seeded" if "seeded" in kinds else "plain", now, (*now.decisions, *found))
        yield now


def best(steps: Iterable[Step]) -> Step:
    """The answer of a run of iterations: the last one that was kept."""
    kept = None
    for step in steps:
        kept = step if step.kept else kept
    if kept is None:
        raise ValueError("there is no iteration to choose from.")
    return kept


def segment(
    embeddings: torch.Tensor | np.ndarray, seeds: torch.Tensor | np.ndarray | Sequence[int], **options: object
) -> torch.Tensor:
    """The fast half: embeddings (N, D) and seeds (N,) give class ids (N,) int64. Options are those of ``iterate``."""
    return best(iterate(embeddings, seeds, **options)).labels  # type: ignore[arg-type]


def _seeded_kmeans(x: torch.Tensor, start: torch.Tensor, anchor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels (N,) and centres (K, D) of k-means on x (N, D) that starts at the seeds' means (K, D)."""
    if anchor == 0:
        labels, centers, _, _ = kmeans(x, len(start), init=start)
        return labels, centers
    tolerance = 1e-4 * x.var(0, correction=0).mean()  # as the kernel's
    centers = start
    for _ in range(100):
        labels, _ = nearest_prototype(x, centers, "euclidean")
        counts = torch.bincount(labels, minlength=len(start))[:, None]
        sums = torch.zeros_like(start).index_add_(0, labels, x)
        moved = torch.where(counts > 0, anchor * start + (1 - anchor) * sums / counts.clamp(min=1), start)
        shift = (moved - centers).square().sum()
        centers = moved
        if shift <= tolerance:
            break
    return nearest_prototype(x, centers, "euclidean")[0], centers


def _name_halves(
    x: torch.Tensor,
    k: int,
    columns: torch.Tensor,
    means: torch.Tensor,
    members: torch.Tensor,
    halves: torch.Tensor,
    centers: torch.Tensor,
    seeded: torch.Tensor,
    given: torch.Tensor,
) -> torch.Tensor:
    """What each half (2,) of cluster k stands for: k the one, the other the class whose patches' mean is nearest."""
    half = torch.full_like(columns, -1)
    half[members] = halves
    votes = [int(torch.where(given == k, 1, -1)[half[seeded] == h].sum()) for h in (0, 1)]
    far = torch.linalg.vector_norm(centers - means[k], dim=1).tolist()
    stays = min((0, 1), key=lambda h: (-votes[h], far[h]))
    middles = torch.stack([x[columns == j].mean(0) if (columns == j).any() else means[j] for j in range(len(means))])
    away = torch.linalg.vector_norm(middles - centers[1 - stays], dim=1)
    away[k] = torch.inf
    named = torch.full((2,), k, device=x.device)
    named[1 - stays] = away.argmin()
    return named


def _points(embeddings: torch.Tensor | np.ndarray) -> torch.Tensor:
    x = torch.as_tensor(embeddings)
    if x.ndim != 2 or 0 in x.shape or not x.is_floating_point():
        raise ValueError(f"embeddings must be (N, D) floats, a row a patch; got {x.dtype} {(*x.shape,)}.")
    return x.float()


def _read_seeds(
    seeds: torch.Tensor | np.ndarray | Sequence[int], x: torch.Tensor
) -> tuple[tuple[int, ...], torch.Tensor, torch.Tensor]:
    """Class ids (K), indices of the clicked patches (S,), and their classes (S,) as 0…K−1."""
    y = torch.as_tensor(seeds, device=x.device)
    if y.shape != x.shape[:1]:
        raise ValueError(f"seeds must be one number a patch, ({len(x)},), -1 where nobody clicked; got {(*y.shape,)}.")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"seeds must be whole numbers, class ids or -1; got {y.dtype}.")
    y = y.long()
    seeded = (y != UNLABELLED).nonzero()[:, 0]
    ids, given = y[seeded].unique(return_inverse=True)
    classes = tuple(ids.tolist())
    for name in classes:
        if not 0 <= name < IGNORE:
            raise ValueError(f"a seed has the class {name}; class ids go from 0 to {IGNORE - 1}, -1 is for no seed.")
    if len(classes) < 2:
        found = f"all of class {classes[0]}" if classes else "none"
        raise ValueError(f"seeds of at least two classes are needed; got {len(seeded)} seeds, {found}.")
    return classes, seeded, given
