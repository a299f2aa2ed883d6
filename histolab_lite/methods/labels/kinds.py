"""Kinds of label, as simulated annotators give them, and the masks that each method makes of them.

Names of clusters: Proto2Seg, Sect. 3.2 and 3.3 (cluster-then-query). Ticks on patches: activation maps of a linear head
(Zhou et al., CVPR 2016), kept to what was ticked as in MLPS, Sect. III-A; or, as the first teams of WSSS4LUAD did, the
patches with a single tick alone, whose every pixel is then known. Points: CVM, one score a class. Seeds: SIC.
Pixel masks: the truth, of as many pictures as there was time for.

Every function takes the pictures to learn from, how many acts (names, ticks, clicks, …) the annotator has time for, the
number of classes and a seed, and returns a mask a picture, uint8 (H, W) of class ids, 255 where nothing is known.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from histolab_lite.data.patches import IGNORE
from histolab_lite.methods import cvm, proto2seg, sic
from histolab_lite.methods.labels.pictures import Picture

Masks = list[np.ndarray]
Box = tuple[slice, slice]  # rows and columns
FIELD = 4  # cells a side of a patch that is ticked: as large as the window of an embedding
LEAST = 0.05  # share of a patch that a class has to exceed to be ticked
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
        return [_nothing(p) for p in pictures]
    generator = torch.Generator().manual_seed(seed)
    return [
        _on_pixels(proto2seg.cluster_then_query(p.grid, dictionary, GAMMA, generator=generator), p) for p in pictures
    ]


def patch_ticks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A patch ticked an act. Inside it, every cell takes the ticked class of the highest activation."""
    fields = _draw_fields(pictures, acts, seed)
    ticks = np.stack([_ticks(pictures[i], box, n_classes) for i, box in fields])
    return _activation_masks(pictures, fields, ticks)


def single_ticks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A patch ticked an act; those with a single tick are that class throughout, the others are left out."""
    masks = [_nothing(p) for p in pictures]
    for i, box in _draw_fields(pictures, acts, seed):
        ticks = _ticks(pictures[i], box, n_classes)
        if ticks.sum() == 1:
            masks[i][_pixels(pictures[i], box)] = ticks.argmax()
    return masks


def picture_ticks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A whole picture ticked an act, treated as a patch is."""
    chosen = np.random.default_rng(seed).permutation(len(pictures))[:acts]
    fields = [(int(i), (slice(0, pictures[i].cells[0]), slice(0, pictures[i].cells[1]))) for i in chosen]
    ticks = np.stack([_ticks(pictures[i], box, n_classes) for i, box in fields])
    return _activation_masks(pictures, fields, ticks)


def points(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A point clicked an act, a few in every class of a picture, picture after picture."""
    classes = [[int(k) for k in np.unique(p.mask) if k != IGNORE] for p in pictures]
    masks = [_nothing(p) for p in pictures]
    for i, n in rounds([len(c) for c in classes], acts, seed):
        picture = pictures[i]
        if len(classes[i]) == 1:
            masks[i][:] = classes[i][0]
            continue
        n = min(n, *(int((picture.mask == k).sum()) for k in classes[i]))
        clicked = cvm.simulate_points(picture.mask, n, classes[i], seed=1000 * seed + i)
        size, grid = picture.mask.shape, picture.maps.shape[1:]
        cells = {k: cvm.to_grid(at, size, (grid[0], grid[1])) for k, at in clicked.items()}
        masks[i] = cvm.segment(picture.maps, cells).ids((size[0], size[1])).numpy()
    return masks


def seeds(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A seed dropped an act, a few in every class of a slide or patient, one after another."""
    groups = [[i for i, p in enumerate(pictures) if p.group == g] for g in dict.fromkeys(p.group for p in pictures)]
    shares = [
        np.concatenate([pictures[i].shares(n_classes).reshape(n_classes, -1).T for i in members]) for members in groups
    ]
    pure = [(s >= PURITY).sum(0) for s in shares]
    masks = [_nothing(p) for p in pictures]
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
            masks[i] = _on_pixels(part.view(pictures[i].cells), pictures[i])
    return masks


def pixel_masks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> Masks:
    """A picture outlined an act."""
    chosen = set(np.random.default_rng(seed).permutation(len(pictures))[:acts].tolist())
    return [p.mask if i in chosen else _nothing(p) for i, p in enumerate(pictures)]


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


def _nothing(picture: Picture) -> np.ndarray:
    return np.full(picture.mask.shape, IGNORE, np.uint8)


def _on_pixels(ids: torch.Tensor, picture: Picture) -> np.ndarray:
    height, width = picture.mask.shape
    return proto2seg.upsample(ids, (height, width)).numpy().astype(np.uint8)


def _pixels(picture: Picture, box: Box) -> Box:
    """The pixels that cells cover, as ``proto2seg.upsample`` draws them."""
    spans = zip(box, picture.mask.shape, picture.cells, strict=True)
    rows, cols = (slice(*(-((n - 2 * at * side) // (2 * n)) for at in (s.start, s.stop))) for s, side, n in spans)
    return rows, cols


def _draw_fields(pictures: Sequence[Picture], n: int, seed: int) -> list[tuple[int, Box]]:
    """At most n patches of FIELD × FIELD cells that do not overlap, in random order: (picture, its cells)."""
    places = [
        (i, (slice(row, row + FIELD), slice(col, col + FIELD)))
        for i, p in enumerate(pictures)
        for row in range(0, p.cells[0] - FIELD + 1, FIELD)
        for col in range(0, p.cells[1] - FIELD + 1, FIELD)
    ]
    return [places[j] for j in np.random.default_rng(seed).permutation(len(places))[:n]]


def _ticks(picture: Picture, box: Box, n_classes: int) -> np.ndarray:
    """What a person ticks, bool (K,): every class that covers more than LEAST, or else the largest."""
    part = picture.mask[_pixels(picture, box)]
    share = np.bincount(part[part != IGNORE], minlength=n_classes)[:n_classes] / part.size
    return (share > LEAST) | (share == share.max())


def _activation_masks(pictures: Sequence[Picture], fields: list[tuple[int, Box]], ticks: np.ndarray) -> Masks:
    """Ticks (n, K) of fields -> masks, by the maps of a linear head on the mean of a field's embeddings."""
    cells = torch.cat([p.grid.flatten(1) for p in pictures], 1)
    spread, mean = torch.std_mean(cells, 1, keepdim=True)
    parts = [(pictures[i].grid[:, box[0], box[1]].flatten(1) - mean) / (spread + 1e-6) for i, box in fields]
    head = fit_head(torch.stack([part.mean(1) for part in parts]), torch.from_numpy(ticks).float())
    masks = [_nothing(p) for p in pictures]
    for (i, box), part, ticked in zip(fields, parts, ticks, strict=True):
        maps = head(part.T)  # (cells, K): the head is linear, so the mean of its maps is what it was trained on
        ids = maps.masked_fill(~torch.from_numpy(ticked), -torch.inf).argmax(1)
        grid = torch.full(pictures[i].cells, IGNORE)
        grid[box] = ids.view(grid[box].shape)
        whole = _on_pixels(grid, pictures[i])
        masks[i] = np.where(whole == IGNORE, masks[i], whole)
    return masks


def fit_head(x: torch.Tensor, ticks: torch.Tensor, steps: int = 100) -> torch.nn.Linear:
    """A linear head for x (n, C) and ticks (n, K) of 0 and 1, by binary cross-entropy with a little weight decay."""
    head = torch.nn.Linear(x.shape[1], ticks.shape[1])
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=steps)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(head(x), ticks) + 1e-3 * head.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return head.requires_grad_(False)


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
