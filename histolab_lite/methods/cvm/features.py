"""Features of an image on a grid: the slow half of CVM, computed once per image.

The feature map A of eq. 4 in Zhang et al., "Weakly supervised segmentation with point annotations for histopathology
images via contrast-based variational model", CVPR 2023, taken from an encoder that needs no training on the image.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from histolab_lite.models.encoder import Encoder, PatchEncoder, default_encoder

MARGIN = 160  # pixels mirrored around the image: as far as the first four stages and their windows see past its border


def encode(
    rgb: np.ndarray,
    encoder: PatchEncoder | None = None,
    stages: Sequence[int] = (0, 1, 2, 3),
    windows: Sequence[int] = (48, 96),
    stride: int = 4,
) -> torch.Tensor:
    """Compute an image's features on a grid. This is the slow half; any number of clicks can use its result.

    The chosen stages of the encoder are averaged over windows, because tissue is recognised by its surroundings. They
    are sampled at the centres of the grid's cells and standardised: over the image every channel has mean 0 and
    variance 1 / (channels of its stage), so that all stages have the same weight. Cosines between such vectors are
    correlations. Cosines between raw vectors of a network that ends in a ReLU are all near 1.

    Parameters
    ----------
    rgb
        uint8 (H, W, 3), best at the scale at which the encoder was trained.
    encoder
        By default ``default_encoder()``.
    stages
        Which of ``Encoder.stages``. An encoder of another type has one feature map, and the stages are ignored.
    windows
        Sides of the windows in pixels; 0 for no average. Every stage is averaged over every window.
    stride
        Side of a cell in pixels, approximately.

    Returns
    -------
    torch.Tensor
        (C, h, w) float32 on the CPU, h = max(1, round(H / stride)). A channel that is constant over the image is 0.

    Raises
    ------
    ValueError
        For an array that is no RGB image, and for a stage, window or stride out of range.
    """
    encoder = encoder or default_encoder()
    if stride < 1 or not windows or min(windows) < 0:
        raise ValueError(f"stride is at least 1 pixel and a window at least 0, not {stride} and {tuple(windows)}.")
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ValueError(f"expected an RGB image, uint8 (H, W, 3); got {rgb.dtype} {rgb.shape}.")
    height, width = rgb.shape[:2]
    several = 32 if isinstance(encoder, Encoder) else 224  # 224: whole tokens of 14, 16 or 32 pixels
    padding = [(MARGIN, MARGIN + -(side + 2 * MARGIN) % several) for side in (height, width)]
    padded = np.pad(rgb, (*padding, (0, 0)), mode="reflect")
    centres = [MARGIN + _centres(side, stride) for side in (height, width)]
    groups = []
    for features in _stages(padded, encoder, stages):
        step = padded.shape[0] / features.shape[1]
        first = 0 if isinstance(encoder, Encoder) else (step - 1) / 2  # the pixel at the centre of a map's first value
        for window in windows:
            smooth = _box(features, round(window / step / 2))
            sampled = _sample(smooth, *((centre - first) / step for centre in centres))
            spread, mean = torch.std_mean(sampled, (1, 2), correction=0, keepdim=True)
            constant = spread <= 1e-5 * (mean.abs() + 1)
            sampled = ((sampled - mean) / spread.masked_fill(constant, 1)).masked_fill(constant, 0)
            groups.append(sampled / len(sampled) ** 0.5)
    return torch.cat(groups)


@torch.inference_mode()
def _stages(rgb: np.ndarray, encoder: PatchEncoder, stages: Sequence[int]) -> list[torch.Tensor]:
    """Compute the chosen feature maps of an image, each (C, h, w) float32 on the CPU."""
    if not isinstance(encoder, Encoder):
        return [encoder.encode(rgb)]
    encoder.eval()
    maps = encoder.stages(encoder._to_input(rgb[None]))
    if not stages or not all(0 <= stage < len(maps) for stage in stages):
        raise ValueError(f"stages are numbers from 0 to {len(maps) - 1}; got {tuple(stages)}.")
    return [maps[stage][0].float().cpu() for stage in stages]


def _centres(side: int, stride: int) -> torch.Tensor:
    """Centres of the cells that divide ``side`` pixels evenly; the centre of the first pixel is at 0."""
    n = max(1, round(side / stride))
    return (torch.arange(n) + 0.5) * side / n - 0.5


def _box(features: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean over the (2·radius + 1)² values around each value; at the border over those that exist."""
    for kernel, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        if radius:
            features = F.avg_pool2d(features, kernel, 1, padding, count_include_pad=False)
    return features


def _sample(features: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Bilinear values of a map (C, H, W) at every pair of a row (h,) and a column (w,), fractional -> (C, h, w)."""
    y, x = (2 * at / max(n - 1, 1) - 1 for at, n in zip((rows, columns), features.shape[1:], strict=True))
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)  # (h, w, 2)
    return F.grid_sample(features[None], grid[None], padding_mode="border", align_corners=True)[0]
