"""What every kind of label starts from: images, their true masks, and one encoder's features, computed once."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from histolab_lite.data import IGNORE
from histolab_lite.data.tiles import TileSet
from histolab_lite.methods import cvm, proto2seg
from histolab_lite.models.encoder import PatchEncoder

Box = tuple[slice, slice]  # rows and columns
WINDOW, STRIDE = 64, 16  # pixels: the side of the window embedded for each cell, and the step between cells


@dataclass(frozen=True)
class EncodedImage:
    """An image with its true mask and the features of one encoder.

    Attributes
    ----------
    image
        uint8 (H, W, 3).
    mask
        uint8 (H, W) of class ids, 255 to ignore.
    group
        Its patient or slide.
    grid
        (C, h, w) float32: one embedding of length 1 per cell, of the window around it (``proto2seg.encode``).
    maps
        (D, h', w') float32: the encoder's stages for clicks (``cvm.encode``).
    """

    image: np.ndarray
    mask: np.ndarray
    group: str
    grid: torch.Tensor
    maps: torch.Tensor

    @property
    def cells(self) -> tuple[int, int]:
        """(h, w)."""
        return self.grid.shape[1], self.grid.shape[2]

    @property
    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (h,) and columns (w,) of the pixels in the middle of the cells."""
        rows, columns = (proto2seg.cell_centres(side, STRIDE) for side in self.mask.shape)
        return rows, columns

    @property
    def blank(self) -> np.ndarray:
        """A mask in which nothing is known, uint8 (H, W) of 255."""
        return np.full(self.mask.shape, IGNORE, np.uint8)

    def shares(self, n_classes: int) -> np.ndarray:
        """Compute the share of each class in the window of each cell, float32 (K, h, w)."""
        at = np.ix_(*self.centres)
        return np.stack([uniform_filter((self.mask == k).astype(np.float32), WINDOW)[at] for k in range(n_classes)])

    def on_pixels(self, ids: torch.Tensor) -> np.ndarray:
        """Bring class ids of the cells (h, w) to the pixels, uint8 (H, W)."""
        height, width = self.mask.shape
        return proto2seg.upsample(ids, (height, width)).numpy().astype(np.uint8)

    def pixels(self, box: Box) -> Box:
        """Find the pixels that a box of cells covers in ``on_pixels``."""
        spans = zip(box, self.mask.shape, self.cells, strict=True)
        rows, cols = (slice(*(-((n - 2 * at * side) // (2 * n)) for at in (s.start, s.stop))) for s, side, n in spans)
        return rows, cols


def read_images(tiles: TileSet, encoder: PatchEncoder, mpp: float) -> list[EncodedImage]:
    """Read the images of a data set at a scale in µm per pixel, and compute their features: the slow half."""
    images, masks = tiles.read(mpp)
    return [
        EncodedImage(
            image,
            mask,
            group,
            proto2seg.encode(image, encoder, WINDOW, STRIDE),
            cvm.encode(image, encoder, stride=STRIDE // 2),
        )
        for image, mask, group in zip(images, masks, tiles.groups.tolist(), strict=True)
    ]
