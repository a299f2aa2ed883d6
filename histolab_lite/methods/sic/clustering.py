"""Seeded iterative clustering: Algorithm 1, one iteration at a time, for two classes or more.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 2.1. Seeded k-means,
whose centres start at the means of the seeds and then move freely, is Basu et al.'s, ICML 2002.

Where the printed algorithm leaves a choice, this module decides as follows:

- Its loop runs ``while score ≤ score_prev``, before there is a score, and never updates ``score_prev``; its comment
  says "until defined score goes down", its text "until a score […] does not improve". We follow the text: an iteration
  that does not raise the score ends the loop and is not kept, so the result is the best one seen.
- Labels of the re-clustered subset index the whole set in the next line. Here a patch that leaves the positive cluster
  stays outside.
- The score compares "only sparse annotations". We compare all seeds, not only those left in the subset; otherwise
  losing a seed would raise the score.
- The condition runs plain k-means on a positive cluster that holds positive seeds only ({1} ⊂ y), the comment on one
  that holds negative seeds only. ``plain="negatives"`` follows the comment: such a cluster scores 0 before and after,
  so `iterate` shows the step and never keeps it. ``plain="positives"`` follows the condition, which serves the stated
  purpose: a tumour much smaller than the cluster around it. No seed can tell whether this step helped, so it is kept
  unless the score falls. It ends the loop ("an additional step"); otherwise it would halve the cluster again and again.
- The positive half of a plain k-means is the one with more positive than negative seeds; if both halves are equal, the
  one nearer to the mean of the positive seeds.
- A cluster without seeds, or of one patch, does not change.

Beyond the paper: more than two classes, probabilities, and `anchor`, which pulls the centres towards the seeds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from histolab_lite.data import IGNORE
from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.kernels.nearest_prototype import nearest_prototype
from histolab_lite.methods.sic.representation import check_embeddings

UNLABELLED = -1
PLAIN = ("negatives", "positives")
Score = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], float]


class Decision(NamedTuple):
    """One k-means: its patches, its centres, and the class (0…K−1) of each centre."""

    members: torch.Tensor  # (M,) int64
    centers: torch.Tensor  # (J, D)
    columns: torch.Tensor  # (J,) int64


@dataclass(frozen=True)
class Step:
    """The result of one iteration."""

    classes: tuple[int, ...]  # K class ids, ascending
    labels: torch.Tensor  # (N,) int64, class ids
    score: float  # on the seeds
    kind: str  # "start", "seeded" or "plain": the k-means that divided the clusters last
    kept: bool  # False for an iteration that brought no gain and ended the loop
    decisions: tuple[Decision, ...] = field(repr=False)

    def probabilities(self, embeddings: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Assign patches to classes softly.

        Each k-means counts as a mixture of Gaussians with the same variance and weight, along the directions in which
        the centres differ (all others cancel). A patch that was divided more than once has the probabilities of the
        last k-means; classes that did not take part have 0. The probabilities rank patches well, but are not
        calibrated.

        Returns
        -------
        float32 (N, K)
            Rows sum to 1; the label of a patch has the largest probability.
        """
        x = check_embeddings(embeddings)
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
        """Subtract the second largest probability from the largest: float32 (N,) in [0, 1]."""
        best, second = self.probabilities(embeddings).topk(2, dim=1).values.unbind(1)
        return best - second


def f1_on_seeds(predicted: torch.Tensor, true: torch.Tensor, positive: Sequence[int]) -> float:
    """Compute the paper's score of class ids (S,) on the seeds: F1 of the positive class, or the mean over several."""
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
    """Run Algorithm 1 and yield each iteration; the first is seeded k-means on all patches.

    Nothing is remembered: to add or withdraw a seed, change `seeds` and call again. Seeds decide where clusters start
    and how good they are. A patch clicked as one class may end in another, which lowers the score.

    Parameters
    ----------
    embeddings
        (N, D) float, best from `prepare`.
    seeds
        (N,) integers: the class id of a clicked patch, −1 for all others; at least two classes with one seed each.
    positive
        The class or classes whose cluster is divided again and again (class 1 of the paper's 0 and 1). By default the
        larger id of two classes; all of three or more. Patches leave a cluster for the other classes with seeds in it;
        after a plain k-means, for the class with the nearest mean.
    plain
        When plain k-means runs: "negatives" or "positives" (see the module).
    anchor
        In [0, 1]: centre = anchor · mean of its seeds + (1 − anchor) · mean of its patches. At 0, the paper's, seeds
        only start the clusters; above 0, each click counts. At 1 a patch takes the class whose mean of seeds is
        nearest, and nothing is clustered.
    max_steps
        Largest number of iterations after the first.
    score
        (predicted, true, positive classes) -> number, on the seeds.
    generator
        Random start of plain k-means; by default each call gives the same result.

    Yields
    ------
    Step

    Raises
    ------
    ValueError
        For shapes that do not match, embeddings that are not finite, seeds that are no class ids or of a single class,
        or an option out of its range.
    """
    x = check_embeddings(embeddings)
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
    """Choose the result of a run of iterations: the last one that was kept."""
    kept = None
    for step in steps:
        kept = step if step.kept else kept
    if kept is None:
        raise ValueError("there is no iteration to choose from.")
    return kept


def segment(
    embeddings: torch.Tensor | np.ndarray, seeds: torch.Tensor | np.ndarray | Sequence[int], **options: object
) -> torch.Tensor:
    """Divide a slide, the fast half: embeddings (N, D) and seeds (N,) -> class ids int64 (N,).

    Options and errors are those of `iterate`.
    """
    return best(iterate(embeddings, seeds, **options)).labels  # type: ignore[arg-type]


def _seeded_kmeans(x: torch.Tensor, start: torch.Tensor, anchor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Run k-means on x (N, D) from the means of the seeds (K, D): labels (N,) and centres (K, D)."""
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
    """Name the halves of cluster k: (2,), one is k, the other the class with the nearest mean of patches."""
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


def _read_seeds(
    seeds: torch.Tensor | np.ndarray | Sequence[int], x: torch.Tensor
) -> tuple[tuple[int, ...], torch.Tensor, torch.Tensor]:
    """Read class ids (K), indices of the clicked patches (S,), and their classes (S,) as 0…K−1."""
    y = torch.as_tensor(seeds, device=x.device)
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"seeds must be one number per patch, ({len(x)},), -1 where nobody clicked; got {(*y.shape,)}."
        )
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"seeds must be whole numbers, class ids or -1; got {y.dtype}.")
    y = y.long()
    seeded = (y != UNLABELLED).nonzero()[:, 0]
    ids, given = y[seeded].unique(return_inverse=True)
    classes = tuple(ids.tolist())
    for name in classes:
        if not 0 <= name < IGNORE:
            raise ValueError(f"a seed has the class {name}; class ids are 0 to {IGNORE - 1}, and -1 means no seed.")
    if len(classes) < 2:
        found = f"all of class {classes[0]}" if classes else "none"
        raise ValueError(f"seeds of at least two classes are needed; got {len(seeded)} seeds, {found}.")
    return classes, seeded, given
