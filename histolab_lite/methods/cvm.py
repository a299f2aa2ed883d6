"""CVM: a few clicks in the target and out of it outline the target, without training.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023. Sect. 4.3: correlation maps (eq. 4), contrast maps (eq. 5), a convex Chan-Vese
segmentation an in-target point (eq. 6), their normalised mean (eq. 7). Sect. 5.2: points simulated from masks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
import torch.nn.functional as F

from histolab_lite.data.patches import IGNORE
from histolab_lite.kernels.chan_vese import chan_vese
from histolab_lite.kernels.contrast_maps import FLAT, contrast_maps
from histolab_lite.models.encoder import Encoder, PatchEncoder, default_encoder

MARGIN = 80  # pixels mirrored around the image: what the first three stages and their windows see past its border

Points = torch.Tensor | np.ndarray | Sequence[Sequence[int]]  # (N, 2) whole numbers, (row, col)


def encode(
    rgb: np.ndarray,
    encoder: PatchEncoder | None = None,
    stages: Sequence[int] = (0, 1, 2),
    windows: Sequence[int] = (16, 48),
    stride: int = 4,
) -> torch.Tensor:
    """The slow half: what an image's locations look like, on a grid, to be clicked on as often as one likes.

    rgb: uint8 (H, W, 3), best at the scale the encoder was trained at. stages: which of ``Encoder.stages``; of another
    encoder its one feature map is taken. Each is averaged over every window (pixels a side; 0 for none), for tissue is
    known by its surroundings, sampled at the centres of cells of about stride × stride pixels, and standardised: over
    the image every channel has mean 0 and variance 1 / (channels of its stage), so that stages weigh the same. Cosines
    between such vectors are correlations: raw ones of a network that ends in a ReLU are all near 1.
    Returns (C, h, w) float32 on the CPU, h = max(1, round(H / stride)); a channel that is constant over the image is 0.
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
        first = 0 if isinstance(encoder, Encoder) else (step - 1) / 2  # the pixel that a map's first value is about
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
    """The chosen feature maps of an image, each (C, h, w) float32 on the CPU."""
    if not isinstance(encoder, Encoder):
        return [encoder.encode(rgb)]
    encoder.eval()
    maps = encoder.stages(encoder._to_input(rgb[None]))
    if not stages or not all(0 <= stage < len(maps) for stage in stages):
        raise ValueError(f"stages are numbers from 0 to {len(maps) - 1}; got {tuple(stages)}.")
    return [maps[stage][0].float().cpu() for stage in stages]


def _centres(side: int, stride: int) -> torch.Tensor:
    """Where the cells that divide ``side`` pixels evenly have their centres; the first pixel's is at 0."""
    n = max(1, round(side / stride))
    return (torch.arange(n) + 0.5) * side / n - 0.5


def _box(features: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean over (2·radius + 1)² values around each; at the border over those that exist."""
    for kernel, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        if radius:
            features = F.avg_pool2d(features, kernel, 1, padding, count_include_pad=False)
    return features


def _sample(features: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Bilinear values of a map (C, H, W) at every pair of a row (h,) and a column (w,), fractional -> (C, h, w)."""
    y, x = (2 * at / max(n - 1, 1) - 1 for at, n in zip((rows, columns), features.shape[1:], strict=True))
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)  # (h, w, 2)
    return F.grid_sample(features[None], grid[None], padding_mode="border", align_corners=True)[0]


@dataclass(frozen=True)
class ClassScores:
    """The multi-class answer. classes: K class ids. scores: (K, h, w) float32 in [0, 1], one map a class."""

    classes: tuple[int, ...]
    scores: torch.Tensor

    def ids(self, size: tuple[int, int] | None = None, margin: float = 0.0) -> torch.Tensor:
        """The class of the best score, uint8, on the grid or on an image of ``size``; of equal ones the first.

        255 ("ignore") is for unsure: the best score leads the second by less than ``margin``.
        """
        if not 0 <= margin <= 1:
            raise ValueError(f"margin must lie in [0, 1], not {margin}.")
        scores = self.scores if size is None else upsample(self.scores, size)
        best, second = scores.topk(2, dim=0).values
        ids = torch.tensor(self.classes, dtype=torch.uint8, device=scores.device)[scores.argmax(0)]
        return ids.masked_fill(best - second < margin, IGNORE)


@overload
def segment(
    features: torch.Tensor, inside: Points, outside: Points, eta: float = ..., lam: float = ...
) -> torch.Tensor: ...
@overload
def segment(
    features: torch.Tensor, inside: Mapping[int, Points], outside: None = ..., eta: float = ..., lam: float = ...
) -> ClassScores: ...
def segment(
    features: torch.Tensor,
    inside: Points | Mapping[int, Points],
    outside: Points | None = None,
    eta: float = 0.6,
    lam: float = 10.0,
) -> torch.Tensor | ClassScores:
    """The fast half: u (h, w) float32 in [0, 1], near 1 in the target and near 0 out of it. Segment by u >= 0.5.

        z_p = mean_q C_pq (eq. 5),   u_p = argmin F(u_p, c1, c2) (eq. 6),   u = N(mean_p u_p) (eq. 7)

    features: (C, h, w) from ``encode``. inside, outside: (P, 2), (Q, 2), (row, col) on that grid (see ``to_grid``).
    eta: how much of the likeness to the points outside is subtracted. lam: λ, larger follows the contrast more closely.
    N stretches to [0, 1]; a constant map stays what it is.

    A dict of class id -> points, of two classes or more, gives the multi-class form, which the paper leaves open. Each
    class in turn is inside and all others are outside; since u is nearly 0 or 1 everywhere, where several classes or
    none of them claim a location the contrast decides:  score = (N(mean_p z_p) + u) / 2.
    Prefer it, as {1: inside, 0: outside}, where what is clicked outside is as uniform as the target, or the target
    varies: u asks only how like the clicks inside a location is, this asks which clicks it is more like.

    ValueError for a side or class without a point, a point off the grid, class ids that are not 0 to 254.
    """
    if not isinstance(inside, Mapping):
        if outside is None:
            raise ValueError("points outside the target are missing; click at least one in the target and one out.")
        return _one_versus_rest(features, inside, outside, eta, lam)[1]
    if outside is not None:
        raise ValueError("with points by class there is no outside: give it as one more class.")
    if len(inside) < 2:
        raise ValueError(f"points of at least two classes are needed; got those of {len(inside)}.")
    for name, clicked in inside.items():
        if isinstance(name, bool) or not isinstance(name, int | np.integer) or not 0 <= name < IGNORE:
            raise ValueError(f"class ids are whole numbers from 0 to {IGNORE - 1}; got {name!r}.")
        if len(clicked) == 0:
            raise ValueError(f"class {name} has no point: click one, or leave the class out.")
    points = {int(name): torch.as_tensor(clicked) for name, clicked in inside.items()}
    for name, clicked in points.items():
        if clicked.ndim != 2 or clicked.shape[1] != 2:
            raise ValueError(f"the points of class {name} must be (N, 2), (row, col); got {(*clicked.shape,)}.")
    scores = []
    for name, own in points.items():
        others = torch.cat([other for key, other in points.items() if key != name])
        z, u = _one_versus_rest(features, own, others, eta, lam)
        scores.append((_stretch(z.mean(0)) + u) / 2)
    return ClassScores(tuple(points), torch.stack(scores))


def _one_versus_rest(
    features: torch.Tensor, inside: Points, outside: Points, eta: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """z (P, h, w) and u (h, w)."""
    z = contrast_maps(features, torch.as_tensor(inside), torch.as_tensor(outside), eta)
    segmentations = chan_vese(z, lam)
    assert isinstance(segmentations, torch.Tensor)
    return z, _stretch(segmentations.mean(0))


def _stretch(values: torch.Tensor) -> torch.Tensor:
    """The paper's N: to [0, 1]. A map that spans no more than rounding errors stays what it is."""
    low, high = values.aminmax()
    return (values - low) / (high - low) if high - low > FLAT else values


def to_grid(points: Points, image: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """Pixels (N, 2), (row, col), of an image (H, W) -> the cells (N, 2) int64 they lie in on the grid (h, w).

    ValueError for a pixel off the image.
    """
    pixels = torch.as_tensor(points).reshape(-1, 2)
    sides, cells = (torch.tensor(shape, device=pixels.device) for shape in (image, grid))
    for row, column in pixels[((pixels < 0) | (pixels >= sides)).any(1)].tolist():
        raise ValueError(f"the point ({row}, {column}) lies off the image of {(*image,)} (rows, columns).")
    return ((2 * pixels + 1) * cells).div(2 * sides, rounding_mode="floor").long()  # by the pixel's centre


def upsample(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """u (h, w), or scores (K, h, w), on the image (H, W): bilinear between the centres of the cells."""
    maps = scores if scores.ndim == 3 else scores[None]
    enlarged = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    return enlarged if scores.ndim == 3 else enlarged[0]


def simulate_points(
    mask: np.ndarray | torch.Tensor, n_pairs: int, classes: Sequence[int] | None = None, seed: int = 0
) -> dict[int, torch.Tensor]:
    """The paper's simulated annotator: ``n_pairs`` pixels of every class, drawn evenly without repetition.

    mask: (H, W) class ids, 255 is never drawn, or bool, in which case the target is class 1 and the rest 0.
    classes: those to draw from; by default all that the mask holds. The paper takes 3 pairs, or 5 for tissue cores.
    Returns class id -> (n_pairs, 2) int64, (row, col) of pixels. The same seed gives the same points, and the first of
    5 are the 3 that 3 pairs give. ValueError for a class that is absent, or smaller than n_pairs pixels.
    """
    ids = np.asarray(mask)
    if ids.ndim != 2 or n_pairs < 1:
        raise ValueError(f"expected a mask (H, W) and at least one pair; got {ids.shape} and {n_pairs}.")
    present = [int(name) for name in np.unique(ids) if name != IGNORE]
    wanted = present if classes is None else [int(name) for name in classes]
    if len(wanted) < 2:
        raise ValueError(f"points are drawn from two classes or more; this mask has {present}, asked for: {wanted}.")
    points = {}
    for name in wanted:
        where = np.flatnonzero(ids == name)
        if len(where) < n_pairs:
            raise ValueError(
                f"class {name} has {len(where)} pixels in this mask, which holds {present}; "
                f"{n_pairs} points cannot be drawn from it."
            )
        drawn = np.random.default_rng([seed, name]).permutation(where)[:n_pairs]
        points[name] = torch.from_numpy(np.stack(np.unravel_index(drawn, ids.shape), 1))
    return points


def point_mask(points: Mapping[int, Points], shape: tuple[int, int], radius: int = 1) -> torch.Tensor:
    """The labels of the partial cross-entropy (eq. 3): (H, W) uint8, 255 wherever nobody clicked.

    Every point is widened to a square of 2·radius + 1 pixels, the paper's 3 × 3, cut off at the border. A pixel in
    squares of two classes stays 255, as does one clicked as both; a clicked pixel keeps its class in another's square.
    """
    if radius < 0:
        raise ValueError(f"radius must be at least 0, not {radius}.")
    mask = torch.full(shape, IGNORE, dtype=torch.uint8)
    for around in (radius, 0):  # the clicked pixels last, over the squares
        claimed: dict[tuple[int, int], int] = {}
        for name, clicked in points.items():
            for row, column in to_grid(clicked, shape, shape).tolist():
                for y in range(max(row - around, 0), min(row + around + 1, shape[0])):
                    for x in range(max(column - around, 0), min(column + around + 1, shape[1])):
                        claimed[y, x] = int(name) if claimed.get((y, x), name) == name else IGNORE
        for place, name in claimed.items():
            mask[place] = name
    return mask
