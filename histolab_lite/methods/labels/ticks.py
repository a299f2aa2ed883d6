"""Ticks: patches, or whole pictures, of which a person says which tissues they show, and the masks they become.

Activation maps of a linear head (Zhou et al., "Learning deep features for discriminative localization", CVPR 2016),
kept to what was ticked as MLPS does (Han et al., Medical Image Analysis 2022, Sect. III-A). Or the patches with a
single tick alone, whose every pixel is then known: the first teams of WSSS4LUAD (Han et al., 2022, Sect. IV-B).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from histolab_lite.data import IGNORE
from histolab_lite.methods.labels.pictures import Box, Picture

SIDE = 4  # cells a side of a patch that is ticked: as large as the window of an embedding
LEAST = 0.05  # share of a patch that a class has to exceed to be ticked


def patch_ticks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> list[np.ndarray]:
    """A patch ticked an act. Inside it, every cell takes the ticked class of the highest activation."""
    patches = draw_patches(pictures, acts, seed)
    ticks = np.stack([ticks_of(pictures[i], box, n_classes) for i, box in patches])
    return _activation_masks(pictures, patches, ticks)


def single_ticks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> list[np.ndarray]:
    """A patch ticked an act; those with a single tick are that class throughout, the others are left out."""
    masks = [p.blank for p in pictures]
    for i, box in draw_patches(pictures, acts, seed):
        ticks = ticks_of(pictures[i], box, n_classes)
        if ticks.sum() == 1:
            masks[i][pictures[i].pixels(box)] = ticks.argmax()
    return masks


def picture_ticks(pictures: Sequence[Picture], acts: int, n_classes: int, seed: int) -> list[np.ndarray]:
    """A whole picture ticked an act, treated as a patch is."""
    chosen = np.random.default_rng(seed).permutation(len(pictures))[:acts]
    patches = [(int(i), (slice(0, pictures[i].cells[0]), slice(0, pictures[i].cells[1]))) for i in chosen]
    ticks = np.stack([ticks_of(pictures[i], box, n_classes) for i, box in patches])
    return _activation_masks(pictures, patches, ticks)


def draw_patches(pictures: Sequence[Picture], n: int, seed: int) -> list[tuple[int, Box]]:
    """At most n patches of SIDE × SIDE cells that do not overlap, in random order: (picture, its cells)."""
    places = [
        (i, (slice(row, row + SIDE), slice(col, col + SIDE)))
        for i, p in enumerate(pictures)
        for row in range(0, p.cells[0] - SIDE + 1, SIDE)
        for col in range(0, p.cells[1] - SIDE + 1, SIDE)
    ]
    return [places[j] for j in np.random.default_rng(seed).permutation(len(places))[:n]]


def ticks_of(picture: Picture, box: Box, n_classes: int) -> np.ndarray:
    """What a person ticks, bool (K,): every class that covers more than LEAST, or else the largest."""
    part = picture.mask[picture.pixels(box)]
    share = np.bincount(part[part != IGNORE], minlength=n_classes)[:n_classes] / part.size
    return (share > LEAST) | (share == share.max())


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


def _activation_masks(
    pictures: Sequence[Picture], patches: list[tuple[int, Box]], ticks: np.ndarray
) -> list[np.ndarray]:
    """Ticks (n, K) of patches -> masks, by the maps of a linear head on the mean of a patch's embeddings."""
    cells = torch.cat([p.grid.flatten(1) for p in pictures], 1)
    spread, mean = torch.std_mean(cells, 1, keepdim=True)
    parts = [(pictures[i].grid[:, box[0], box[1]].flatten(1) - mean) / (spread + 1e-6) for i, box in patches]
    head = fit_head(torch.stack([part.mean(1) for part in parts]), torch.from_numpy(ticks).float())
    masks = [p.blank for p in pictures]
    for (i, box), part, ticked in zip(patches, parts, ticks, strict=True):
        maps = head(part.T)  # (cells, K): the head is linear, so the mean of its maps is what it was trained on
        ids = maps.masked_fill(~torch.from_numpy(ticked), -torch.inf).argmax(1)
        grid = torch.full(pictures[i].cells, IGNORE)
        grid[box] = ids.view(grid[box].shape)
        whole = pictures[i].on_pixels(grid)
        masks[i] = np.where(whole == IGNORE, masks[i], whole)
    return masks
