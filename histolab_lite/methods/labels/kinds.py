"""Kinds of label, as simulated annotators give them, and the masks that each method makes of them.

Names of clusters: Proto2Seg, Sect. 3.2 and 3.3 (cluster-then-query). Ticks: ``ticks``. Points: CVM, a score a class.
Seeds: SIC. Pixel masks: the truth, of as many pictures as there was time for.

Every function takes the pictures to learn from, how many acts (names, ticks, clicks, …) the annotator has time for, the
number of classes and a seed, and returns a mask a picture, uint8 (H, W) of class ids, 255 where nothing is known.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from histolab_lite.data import IGNORE
from histolab_lite.methods import cvm, proto2seg, sic
from histolab_lite.methods.labels.pictures import Picture
from histolab_lite.methods.labels.ticks import patch_ticks, picture_ticks, single_ticks

Masks = list[np.ndarray]
PURITY = 0.9  # share of a window that its class covers where a seed is dropped
ROUND = 3  # clicks or seeds a class at a time; CVM's paper takes three pairs, SIC's one to five seeds
CLUSTERED = 4000  # windows that are clustered
GAMMA = 5  # groups a class of Proto2Seg's cluster-then-query
ANCHOR = 0.5  # how far seeds hold the centres of SIC's clusters; without it more seeds did not help on GlaS


def cluster_names(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A cluster named an act; clusters that are no single tissue are dropped."""
    cells = torch.cat([p.grid.flatten(1).T for p in pictures])
    shares = np.concatenate([p.shares(n_classes).reshape(n_classes, -1).T for p in pictures])
    chosen = np.random.default_rng(seed).permutation(len(cells))[:CLUSTERED]
    names = [str(k) for k in range(n_classes)]
    try:
        dictionary = proto2seg.simulate_dictionary(
            cells[chosen], shares[chosen], names, min(acts, len(chosen)), seed=seed
        )
    except ValueError:  # every cluster is a mixture
        return [p.blank for p in pictures]
    generator = torch.Generator().manual_seed(seed)
    query = partial(proto2seg.cluster_then_query, dictionary=dictionary, gamma=GAMMA, generator=generator)
    return [p.on_pixels(query(p.grid)) for p in pictures]


def points(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A point clicked an act, a few in every class of a picture, picture after picture."""
    classes = [[int(k) for k in np.unique(p.mask) if k != IGNORE] for p in pictures]
    masks = [p.blank for p in pictures]
    for i, n in rounds([len(c) for c in classes], acts, seed):
        picture = pictures[i]
        if len(classes[i]) == 1:
            masks[i][:] = classes[i][0]
            continue
        n = min(n, *(int((picture.mask == k).sum()) for k in classes[i]))
        clicked = cvm.simulate_points(picture.mask, n, classes[i], seed=1000 * seed + i)
        size, grid = picture.mask.shape, picture.maps.shape[1:]
        cells = {k: cvm.to_grid(at, size, (grid[0], grid[1])) for k, at in clicked.items()}
        masks[i] = cvm.segment_classes(picture.maps, cells).ids((size[0], size[1])).numpy()
    return masks


def seeds(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A seed dropped an act, a few in every class of a slide or patient, one after another."""
    groups = [[i for i, p in enumerate(pictures) if p.group == g] for g in dict.fromkeys(p.group for p in pictures)]
    shares = [
        np.concatenate([pictures[i].shares(n_classes).reshape(n_classes, -1).T for i in members]) for members in groups
    ]
    pure = [(s >= PURITY).sum(0) for s in shares]
    masks = [p.blank for p in pictures]
    for g, n in rounds([int((counts > 0).sum()) for counts in pure], acts, seed):
        members = groups[g]
        classes = np.flatnonzero(pure[g] > 0)
        dropped = torch.full((len(shares[g]),), -1)
        for k in classes.tolist():
            one = sic.simulate_seeds(shares[g], min(n, int(pure[g][k])), [k], PURITY, seed=1000 * seed + g)
            dropped = torch.where(one >= 0, one, dropped)
        if len(classes) < 2:
            ids = torch.full_like(dropped, int(classes[0]))
        else:
            cells = torch.cat([pictures[i].grid.flatten(1).T for i in members])
            ids = sic.segment(sic.prepare(cells, _places([pictures[i] for i in members])), dropped, anchor=ANCHOR)
        for i, part in zip(members, ids.split([int(np.prod(pictures[i].cells)) for i in members]), strict=True):
            masks[i] = pictures[i].on_pixels(part.view(pictures[i].cells))
    return masks


def pixel_masks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A picture outlined an act."""
    chosen = set(np.random.default_rng(seed).permutation(len(pictures))[:acts].tolist())
    return [p.mask if i in chosen else p.blank for i, p in enumerate(pictures)]


#: What a person gives -> how masks come of it.
KINDS: dict[str, Callable[[Sequence[Picture], int, int, int], Masks]] = {
    "cluster names": cluster_names,
    "patch ticks": patch_ticks,
    "single ticks": single_ticks,
    "picture ticks": picture_ticks,
    "points": points,
    "seeds": seeds,
    "pixel masks": pixel_masks,
}


def rounds(classes: Sequence[int], acts: int, seed: int) -> Iterator[tuple[int, int]]:
    """(place, clicks a class in all) for those that are reached: ROUND more a class a visit, place after place.

    classes: how many there are to click in each place. A place that is too dear for what is left is passed over.
    """
    order = np.random.default_rng(seed).permutation(len(classes)).tolist()
    given = dict.fromkeys(order, 0)
    left, any_given = acts, True
    while any_given:
        any_given = False
        for place in order:
            cost = ROUND * classes[place]
            if 0 < cost <= left:
                given[place] += ROUND
                left -= cost
                any_given = True
    yield from ((place, n) for place, n in given.items() if n)


def _places(pictures: Sequence[Picture]) -> np.ndarray:
    """Row and column of every cell, pictures side by side with a gap: int (N, 2)."""
    found, right = [], 0
    for picture in pictures:
        rows, cols = np.indices(picture.cells)
        found.append(np.stack([rows.ravel(), cols.ravel() + right], 1))
        right += picture.cells[1] + 2
    return np.concatenate(found)
