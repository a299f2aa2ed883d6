"""Average several predictions: an image at several scales and mirrored, and several networks.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B: Lin et al. (1st place) and Fang et al. (3rd) ensemble several networks, Li et al. (IV-B4) test at several
scales. The paper does not say which scales.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

#: Images, float (B, 3, H, W), to class probabilities (B, K, H, W).
Predict = Callable[[torch.Tensor], torch.Tensor]

MIRRORS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))


@torch.no_grad()
def multi_scale(
    predict: Predict, image: torch.Tensor, scales: Sequence[float] = (0.75, 1.0, 1.25), flips: bool = True
) -> torch.Tensor:
    """Average the predictions over all scales and, with `flips`, over all four mirrorings of each scale.

    Resizing is bilinear in both directions, and is left out where the size stays; below a scale of 1/2 it skips pixels.
    A scaled side has at least one pixel.

    Parameters
    ----------
    predict
        Gives float (B, K, h, w) in [0, 1] for images (B, 3, h, w) of any size.
    image
        float (B, 3, H, W).
    scales
        Factors of the size.
    flips
        Whether to mirror the image.

    Returns
    -------
    float32 (B, K, H, W)
        Mean probabilities; they sum to 1 if those of `predict` do.

    Raises
    ------
    ValueError
        For an image of another shape or dtype, no scale or one that is not above 0, or a prediction of another shape or
        range.
    """
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point() or not image.numel():
        raise ValueError(f"expected an image, float (B, 3, H, W); got {image.dtype} {(*image.shape,)}.")
    if not scales or not all(0 < scale < torch.inf for scale in scales):
        raise ValueError(f"expected at least one scale, each above 0; got {tuple(scales)}.")
    mirrors = MIRRORS if flips else MIRRORS[:1]
    size = image.shape[2:]
    total: torch.Tensor | None = None
    for scale in scales:
        scaled_size = [max(1, round(side * scale)) for side in size]
        scaled = _resized(image, scaled_size)
        answers = [_checked(predict(scaled.flip(mirror)), scaled, scale).flip(mirror) for mirror in mirrors]
        mean = _resized(torch.stack(answers).mean(0), size)
        total = mean if total is None else total + mean
    assert total is not None
    return total / len(scales)


def segment(
    predict: Predict,
    image: np.ndarray,
    factor: float = 1.0,
    *,
    scales: Sequence[float] = (1.0,),
    flips: bool = False,
) -> np.ndarray:
    """Segment a whole image, which the network sees `factor` times as large.

    Parameters
    ----------
    predict
        As in `multi_scale`.
    image
        uint8 (H, W, 3).
    factor
        Mean factor by which the training patches were stretched. The image is resized as they were: bicubic with
        antialiasing.
    scales, flips
        As in `multi_scale`, relative to the resized image.

    Returns
    -------
    uint8 (H, W)
        Class ids.

    Raises
    ------
    ValueError
        For an image of another shape or dtype, a factor that is not above 0, and as `multi_scale`.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected an image, uint8 (H, W, 3); got {image.dtype} {image.shape}.")
    if not 0 < factor < float("inf"):
        raise ValueError(f"factor is a number above 0, not {factor}.")
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    seen = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.array(seen)).permute(2, 0, 1)[None] / 255
    probabilities = _resized(multi_scale(predict, x, scales, flips), image.shape[:2])
    return probabilities[0].argmax(0).to(torch.uint8).numpy()


def ensemble(predicts: Sequence[Predict]) -> Predict:
    """Combine several `Predict` into one that gives their mean.

    Raises
    ------
    ValueError
        For none; when called, for predictions of different shapes.
    """
    if not predicts:
        raise ValueError("an ensemble needs at least one network.")
    members = tuple(predicts)

    def predict(image: torch.Tensor) -> torch.Tensor:
        answers = [member(image) for member in members]
        shapes = {tuple(answer.shape) for answer in answers}
        if len(shapes) > 1:
            raise ValueError(f"the networks of an ensemble must predict the same shape; got {sorted(shapes)}.")
        return torch.stack(answers).mean(0)

    return predict


def _resized(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def _checked(answer: torch.Tensor, image: torch.Tensor, scale: float) -> torch.Tensor:
    if answer.ndim != 4 or (len(answer), *answer.shape[2:]) != (len(image), *image.shape[2:]):
        raise ValueError(
            f"predict gave {(*answer.shape,)} for images {(*image.shape,)}, at scale {scale}; expected (B, K, H, W)."
        )
    answer = answer.float()
    if not (answer.amin() >= 0 and answer.amax() <= 1 + 1e-4):
        raise ValueError(
            f"predict gives probabilities, in [0, 1]; these span {answer.amin():.3g} to {answer.amax():.3g}. "
            "Are they logits?"
        )
    return answer
