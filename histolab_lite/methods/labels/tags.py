"""Tags, with which a person says what tissues a patch or a whole image shows, and the masks that are made of them.

Activation maps of a linear head (Zhou et al., "Learning deep features for discriminative localization", CVPR 2016),
restricted to the tags as MLPS does (Han et al., Medical Image Analysis 2022, Sect. III-A). Or only the patches with a
single tag, which then holds for every pixel: the first teams of WSSS4LUAD (Han et al., 2022, Sect. IV-B).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from histolab_lite.data import IGNORE
from histolab_lite.methods.labels.images import STRIDE, Box, EncodedImage

SIDE = 4  # cells per side of a patch that is tagged: as large as the window of an embedding
LEAST = 0.05  # a class is tagged if its share of the patch is larger


def patch_tags(images: Sequence[EncodedImage], acts: int, n_classes: int, seed: int) -> list[np.ndarray]:
    """Tag one patch per act. In the patch, every cell gets the tagged class of the highest activation."""
    patches = draw_patches(images, acts, seed)
    tags = np.stack([tags_of(images[i], box, n_classes) for i, box in patches])
    return _activation_masks(images, patches, tags)


def single_tags(images: Sequence[EncodedImage], acts: int, n_classes: int, seed: int) -> list[np.ndarray]:
    """Tag one patch per act. A patch with a single tag gets that class everywhere, the others are left out."""
    masks = [image.blank for image in images]
    for i, box in draw_patches(images, acts, seed):
        tags = tags_of(images[i], box, n_classes)
        if tags.sum() == 1:
            masks[i][images[i].pixels(box)] = tags.argmax()
    return masks


def image_tags(images: Sequence[EncodedImage], acts: int, n_classes: int, seed: int) -> list[np.ndarray]:
    """Tag one whole image per act, and treat it as a patch."""
    chosen = np.random.default_rng(seed).permutation(len(images))[:acts]
    patches = [(int(i), (slice(0, images[i].cells[0]), slice(0, images[i].cells[1]))) for i in chosen]
    tags = np.stack([tags_of(images[i], box, n_classes) for i, box in patches])
    return _activation_masks(images, patches, tags)


def draw_patches(images: Sequence[EncodedImage], n: int, seed: int) -> list[tuple[int, Box]]:
    """Draw at most n patches of SIDE × SIDE cells that do not overlap, in random order: (image, its cells)."""
    places = [
        (i, (slice(row, row + SIDE), slice(col, col + SIDE)))
        for i, image in enumerate(images)
        for row in range(0, image.cells[0] - SIDE + 1, SIDE)
        for col in range(0, image.cells[1] - SIDE + 1, SIDE)
    ]
    if not places:
        side = SIDE * STRIDE
        raise ValueError(
            f"no image is as large as a patch of {side} × {side} pixels; give larger images or a finer scale."
        )
    return [places[j] for j in np.random.default_rng(seed).permutation(len(places))[:n]]


def tags_of(image: EncodedImage, box: Box, n_classes: int) -> np.ndarray:
    """Simulate a person's tags, bool (K,): every class with a share above LEAST, and the largest in any case."""
    part = image.mask[image.pixels(box)]
    share = np.bincount(part[part != IGNORE], minlength=n_classes)[:n_classes] / part.size
    return (share > LEAST) | (share == share.max())


def fit_head(x: torch.Tensor, tags: torch.Tensor, steps: int = 100) -> torch.nn.Linear:
    """Train a linear head on x (n, C) and tags (n, K) of 0 and 1, by binary cross-entropy with a small weight decay."""
    head = torch.nn.Linear(x.shape[1], tags.shape[1])
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=steps)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(head(x), tags) + 1e-3 * head.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return head.requires_grad_(False)


def _activation_masks(
    images: Sequence[EncodedImage], patches: list[tuple[int, Box]], tags: np.ndarray
) -> list[np.ndarray]:
    """Masks of the tags (n, K) of patches, by the maps of a linear head on the mean of a patch's embeddings."""
    cells = torch.cat([image.grid.flatten(1) for image in images], 1)
    spread, mean = torch.std_mean(cells, 1, keepdim=True)
    parts = [(images[i].grid[:, box[0], box[1]].flatten(1) - mean) / (spread + 1e-6) for i, box in patches]
    head = fit_head(torch.stack([part.mean(1) for part in parts]), torch.from_numpy(tags).float())
    masks = [image.blank for image in images]
    for (i, box), part, tagged in zip(patches, parts, tags, strict=True):
        maps = head(part.T)  # (cells, K); the head is linear, so their mean is the head's output for the mean embedding
        ids = maps.masked_fill(~torch.from_numpy(tagged), -torch.inf).argmax(1)
        grid = torch.full(images[i].cells, IGNORE)
        grid[box] = ids.view(grid[box].shape)
        whole = images[i].on_pixels(grid)
        masks[i] = np.where(whole == IGNORE, masks[i], whole)
    return masks
