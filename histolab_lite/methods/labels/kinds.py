"""Kinds of label, as simulated annotators give them, and the masks that each method makes of them.

Names of clusters: Proto2Seg, Sect. 3.2 and 3.3 (cluster-then-query). Tags: see ``tags``. Points: CVM, one score per
class. Seeds: SIC. Pixel masks: the true masks of as many images as there was time for.

Every function takes the images to learn from, the number of acts (names, tags, clicks, …) for which the annotator has
time, the number of classes and a random seed. It returns one mask per image, uint8 (H, W) of class ids, 255 where
nothing is known.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from histolab_lite.data import IGNORE
from histolab_lite.methods import cvm, proto2seg, sic
from histolab_lite.methods.labels.images import EncodedImage
from histolab_lite.methods.labels.tags import image_tags, patch_tags, single_tags

Masks = list[np.ndarray]
PURITY = 0.9  # a seed is dropped only where its class covers this share of the window
ROUND = 3  # points or seeds per class and visit; CVM's paper takes three pairs, SIC's one to five seeds
CLUSTERED = 4000  # at most so many windows are clustered
GAMMA = 5  # groups per class in Proto2Seg's cluster-then-query
ANCHOR = 0.5  # how strongly seeds hold the centres of SIC's clusters; without it more seeds did not help on GlaS


def cluster_names(images: Sequence[EncodedImage], acts: int, n_classes: int, seed: int) -> Masks:
    """Name one cluster per act; clusters of more than one tissue are dropped."""
    cells = torch.cat([image.grid.flatten(1).T for image in images])
    shares = np.concatenate([image.shares(n_classes).reshape(n_classes, -1).T for image in images])
    chosen = np.random.default_rng(seed).permutation(len(cells))[:CLUSTERED]
    names = [str(k) for k in range(n_classes)]
    try:
        dictionary = proto2seg.simulate_dictionary(
            cells[chosen], shares[chosen], names, min(acts, len(chosen)), seed=seed
        )
    except ValueError:  # every cluster is a mixture
        return [image.blank for image in images]
    generator = torch.Generator().manual_seed(seed)
    query = partial(proto2seg.cluster_then_query, dictionary=dictionary, gamma=GAMMA, generator=generator)
    return [image.on_pixels(query(image.grid)) for image in images]


def points(images: Sequence[EncodedImage], acts: int, n_classes: int, seed: int) -> Masks:
    """Click one point per act: ROUND points in every class of an image, then the next image."""
    classes = [[int(k) for k in np.unique(image.mask) if k != IGNORE] for image in images]
    masks = [image.blank for image in images]
    for i, n in rounds([len(c) for c in classes], acts, seed):
        image = images[i]
        if len(classes[i]) == 1:
            masks[i][:] = classes[i][0]
            continue
        n = min(n, *(int((image.mask == k).sum()) for k in classes[i]))
        clicked = cvm.simulate_points(image.mask, n, classes[i], seed=1000 * seed + i)
        size, grid = image.mask.shape, image.maps.shape[1:]
        cells = {k: cvm.to_grid(at, size, (grid[0], grid[1])) for k, at in clicked.items()}
        masks[i] = cvm.segment_classes(image.maps, cells).ids((size[0], size[1])).numpy()
    return masks


def seeds(images: Sequence[EncodedImage], acts: int, n_classes: int, seed: int) -> Masks:
    """Drop one seed per act: ROUND seeds in every class of a slide or patient, then the next one."""
    groups = [
        [i for i, image in enumerate(images) if image.group == g]
        for g in dict.fromkeys(image.group for image in images)
    ]
    shares = [
        np.concatenate([images[i].shares(n_classes).reshape(n_classes, -1).T for i in members]) for members in groups
    ]
    pure = [(s >= PURITY).sum(0) for s in shares]
    masks = [image.blank for image in images]
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
            cells = torch.cat([images[i].grid.flatten(1).T for i in members])
            ids = sic.segment(sic.prepare(cells, _places([images[i] for i in members])), dropped, anchor=ANCHOR)
        for i, part in zip(members, ids.split([int(np.prod(images[i].cells)) for i in members]), strict=True):
            masks[i] = images[i].on_pixels(part.view(images[i].cells))
    return masks


def pixel_masks(images: Sequence[EncodedImage], acts: int, n_classes: int, seed: int) -> Masks:
    """Outline one image per act."""
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:acts].tolist())
    return [image.mask if i in chosen else image.blank for i, image in enumerate(images)]


#: Kind of label -> the function that makes masks of it.
KINDS: dict[str, Callable[[Sequence[EncodedImage], int, int, int], Masks]] = {
    "cluster names": cluster_names,
    "patch tags": patch_tags,
    "single tags": single_tags,
    "image tags": image_tags,
    "points": points,
    "seeds": seeds,
    "pixel masks": pixel_masks,
}


def rounds(classes: Sequence[int], acts: int, seed: int) -> Iterator[tuple[int, int]]:
    """Distribute the acts over places, ROUND per class and visit, in random order, until no further visit fits.

    A visit that needs more acts than are left is skipped.

    Parameters
    ----------
    classes
        The number of classes in each place.
    acts
        How many there are in all.
    seed
        Random seed of the order.

    Yields
    ------
    tuple
        (place, acts per class) for every place that was visited.
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


def _places(images: Sequence[EncodedImage]) -> np.ndarray:
    """Row and column of every cell, the images side by side with a gap: int (N, 2)."""
    found, right = [], 0
    for image in images:
        rows, cols = np.indices(image.cells)
        found.append(np.stack([rows.ravel(), cols.ravel() + right], 1))
        right += image.cells[1] + 2
    return np.concatenate(found)
