"""Train a segmentation network from clicks, and from the segmentations that their contrast suggests.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023: L = L_pce + L_wkl (eq. 2). One u per image is kept; it is renewed when the validation
partial cross-entropy is the lowest so far (Sect. 4.3.2). The network of the lowest one is the result (Sect. 5.2).
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F

from histolab_lite.data.augment import StainJitter
from histolab_lite.methods.cvm.baselines import MeanTeacher, NeighbourCRF
from histolab_lite.methods.cvm.losses import partial_cross_entropy
from histolab_lite.methods.cvm.points import Points, point_mask, to_grid
from histolab_lite.methods.cvm.segmentation import upsample
from histolab_lite.methods.cvm.supervision import (
    ContrastMap,
    ContrastVariational,
    HardVariational,
    Supervision,
    TwoSidedVariational,
    VariationalOutput,
)
from histolab_lite.models.segmenters import Segmenter
from histolab_lite.training import TrainOptions, fit, pick_device, with_defaults

#: Table 1 and Fig. 3a by name, and our "cvm two-sided". "full" is the partial cross-entropy of true masks.
SUPERVISIONS: dict[str, Callable[[], Supervision]] = {
    "points": Supervision,
    "cvm": ContrastVariational,
    "cvm hard": HardVariational,
    "cvm two-sided": TwoSidedVariational,
    "contrast map": ContrastMap,
    "variational output": VariationalOutput,
    "mean teacher": MeanTeacher,
    "crf": NeighbourCRF,
    "full": Supervision,
}

Input = np.ndarray | torch.Tensor
Clicks = Mapping[int, Points]


@dataclass(frozen=True)
class Trained:
    """The record of a training.

    Attributes
    ----------
    losses
        The mean loss of every epoch.
    validation
        The partial cross-entropy of the validation after every epoch.
    best
        The epoch of the lowest validation, whose weights are the result.
    targets
        The last target of each training image, such as u: (H, W) float32 in [0, 1], or None where there was none.
    """

    losses: list[float]
    validation: list[float]
    best: int
    targets: list[torch.Tensor | None]


def train(
    model: Segmenter,
    inputs: Sequence[Input],
    points: Sequence[Clicks],
    validation: tuple[Sequence[Input], Sequence[Clicks]],
    *,
    supervision: str | Supervision = "cvm",
    masks: Sequence[np.ndarray] | None = None,
    repeats: int = 4,
    radius: int = 1,
    cell: int = 1,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> Trained:
    """Train ``model`` in place; it ends with the weights of the lowest validation partial cross-entropy.

    An epoch shows every input ``repeats`` times, each time in one of its eight orientations; images are stain-jittered
    as well. Until the first epoch has ended there is no u, and the clicks alone supervise.

    Parameters
    ----------
    model
        A network with one logit per pixel: ``UNet`` for images, ``MapUNet`` for maps.
    inputs
        Whole images, uint8 (H, W, 3), or feature maps such as those of ``encode``, float (C, H, W). Sizes may differ.
    points
        Per input {1: inside, 0: outside}, each (N, 2), (row, col) on the input itself; at least one point of each.
    validation
        Inputs and points of other images, better of other patients.
    supervision
        A name in ``SUPERVISIONS``, or an object with settings of its own, such as ``ContrastVariational(eta=0.3)``.
    masks
        For "full" only: true masks (H, W), bool or 0 and 1, 255 left out. The validation is by points.
    radius
        Every point labels a square of 2·radius + 1 pixels of an image or cells of a map.
    cell
        u is computed on Feature Map 2 averaged over squares of this many pixels. About 4 saves time on images.
    stain_strength
        Of the stain jitter.
    options
        See `TrainOptions`; by default 12 epochs in batches of 4 at a learning rate of 1e-3.

    Raises
    ------
    ValueError
        For inputs, points or masks that do not belong together, an unknown supervision, several processes, and a
        checkpoint of another run.
    """
    options = with_defaults(options, epochs=12, batch_size=4, lr=1e-3, progress="weak labels")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("training from points runs in one process; start it without torchrun.")
    if min(repeats, cell) < 1:
        raise ValueError(f"repeats and cell must be at least 1, not {repeats} and {cell}.")
    if isinstance(supervision, str) and supervision not in SUPERVISIONS:
        raise ValueError(f"supervision must be one of {', '.join(SUPERVISIONS)}, not {supervision!r}.")
    if (supervision == "full") != (masks is not None):
        raise ValueError('give masks with supervision "full", and only with it.')
    device = pick_device(options.get("device"))
    model.to(device)
    teacher = SUPERVISIONS[supervision]() if isinstance(supervision, str) else supervision
    seen = _images(inputs, points, radius)
    unseen = _images(*validation, radius)
    labels = [image.labels for image in seen] if masks is None else _true_labels(masks, seen)
    jitter = StainJitter(stain_strength).to(device)
    settings = {name: value for name, value in vars(teacher).items() if not name.startswith("_")}
    settings |= {"supervision": supervision if isinstance(supervision, str) else type(teacher).__name__}
    settings |= {"radius": radius, "cell": cell, "stain_strength": stain_strength}
    teacher.start(model)
    run = _Run(teacher, [None] * len(seen), {})

    def loss(network: torch.nn.Module, indices: torch.Tensor) -> torch.Tensor:
        teacher.before_step(network)
        batch = []
        for index in (indices % len(seen)).tolist():
            x, is_image = _as_input(seen[index].values)
            x, y, target = x.to(device), labels[index].to(device), run.targets[index]
            if is_image:
                with torch.no_grad():
                    x = jitter(x[None])[0]
            turns, mirrored = int(torch.randint(4, ())), bool(torch.randint(2, ()))
            target = None if target is None else _turned(target.to(device), turns, mirrored)
            batch.append((_turned(x, turns, mirrored), _turned(y, turns, mirrored), target))
        logits = network(_stacked([x for x, _, _ in batch])).float()
        if logits.shape[1] != 1:
            raise ValueError(f"the network must give one logit per pixel, that of the target, not {logits.shape[1]}.")
        values = []
        for output, (x, y, target) in zip(logits[:, 0], batch, strict=True):
            own = output[: x.shape[1], : x.shape[2]]
            values.append(partial_cross_entropy(own, y) + teacher.loss(network, x, own, target))
        return torch.stack(values).mean()

    @torch.no_grad()
    def after_epoch(epoch: int, loss: float) -> None:
        values = [partial_cross_entropy(_logits(model, image.x)[0], image.labels.to(device)).item() for image in unseen]
        run.validation.append(sum(values) / len(values))
        if run.validation[-1] < run.lowest:
            run.lowest = run.validation[-1]
            run.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
            run.targets = [_target(model, teacher, image, cell) for image in seen]
        if told:
            told(epoch, loss)

    told = options.get("after_epoch")
    options["after_epoch"] = after_epoch
    losses = fit(
        model,
        loss,
        len(seen) * repeats,
        data=[inputs, points, validation, masks],
        schedule="constant",
        extra=run,
        settings=settings,
        **options,
    )
    model.load_state_dict(run.weights)
    return Trained(losses, run.validation, run.validation.index(run.lowest), run.targets)


@torch.inference_mode()
def predict(model: Segmenter, x: Input) -> torch.Tensor:
    """Predict ŷ, the probability of the target, (H, W) float32 on the CPU, for one input as ``train`` takes them."""
    model.eval()
    return _logits(model, _as_input(x)[0])[0].sigmoid().cpu()


@dataclass
class _Run:
    """What a stopped run needs to continue: a ``Stateful`` for ``fit``."""

    teacher: Supervision
    targets: list[torch.Tensor | None]
    weights: dict[str, torch.Tensor]
    lowest: float = math.inf

    def __post_init__(self) -> None:
        self.validation: list[float] = []

    def state_dict(self) -> dict:
        names = ("targets", "weights", "lowest", "validation")
        return {name: getattr(self, name) for name in names} | {"teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.teacher.load_state_dict(state.pop("teacher"))
        vars(self).update(state)


@dataclass
class _Image:
    values: Input
    points: dict[int, torch.Tensor]
    labels: torch.Tensor  # (H, W) uint8

    @property
    def x(self) -> torch.Tensor:
        """(C, H, W) float, computed on demand, because an image as uint8 takes a quarter of the memory."""
        return _as_input(self.values)[0]


def _images(inputs: Sequence[Input], points: Sequence[Clicks], radius: int) -> list[_Image]:
    if len(inputs) != len(points) or not len(inputs):
        raise ValueError(f"expected points for every input; got {len(inputs)} inputs and points for {len(points)}.")
    images = []
    for index, (values, clicks) in enumerate(zip(inputs, points, strict=True)):
        if set(clicks) != {0, 1} or not all(len(clicked) for clicked in clicks.values()):
            raise ValueError(f"input {index} needs points inside (1) and outside (0); it has {sorted(clicks)}.")
        x, _ = _as_input(values)
        own = {name: torch.as_tensor(clicked) for name, clicked in clicks.items()}
        images.append(_Image(values, own, point_mask(own, (x.shape[1], x.shape[2]), radius)))
    return images


def _as_input(values: Input) -> tuple[torch.Tensor, bool]:
    """Convert an input to float (C, H, W), and say whether it is an image."""
    x = torch.as_tensor(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
    if x.ndim == 3 and x.shape[2] == 3 and x.dtype == torch.uint8:
        return x.permute(2, 0, 1).float() / 255, True
    if x.ndim != 3 or not x.is_floating_point() or not x.numel():
        raise ValueError(f"expected an image, uint8 (H, W, 3), or a map, float (C, H, W); got {x.dtype} {(*x.shape,)}.")
    return x.float(), False


def _true_labels(masks: Sequence[np.ndarray], images: Sequence[_Image]) -> list[torch.Tensor]:
    labels = [torch.as_tensor(np.ascontiguousarray(mask)).to(torch.uint8) for mask in masks]
    if [mask.shape for mask in labels] != [image.labels.shape for image in images]:
        raise ValueError("expected one mask per input, with the same rows and columns.")
    return labels


def _stacked(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B, C, H, W) of maps (C, h, w), padded at the bottom and right with the values of the border."""
    height, width = (max(x.shape[axis] for x in maps) for axis in (1, 2))
    pads = [(0, width - x.shape[2], 0, height - x.shape[1]) for x in maps]
    filled = [F.pad(x[None], pad, mode="replicate")[0] if any(pad) else x for x, pad in zip(maps, pads, strict=True)]
    return torch.stack(filled)


def _turned(values: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    turned = values.rot90(turns, (-2, -1))
    return turned.flip(-1) if mirrored else turned


def _logits(model: Segmenter, x: torch.Tensor) -> torch.Tensor:
    """(K, H, W) of (C, H, W)."""
    return model(x[None].to(next(model.parameters()).device))[0].float()


def _target(model: Segmenter, teacher: Supervision, image: _Image, cell: int) -> torch.Tensor | None:
    features = model.features(image.x[None].to(next(model.parameters()).device))
    logits = model.head(features)
    if cell > 1:
        features, logits = (F.avg_pool2d(values, cell, ceil_mode=True) for values in (features, logits))
    sizes = (image.labels.shape[0], image.labels.shape[1]), (features.shape[2], features.shape[3])
    points = {name: to_grid(clicked, *sizes) for name, clicked in image.points.items()}
    target = teacher.target(features[0].float(), logits[0, 0].float(), points)
    return None if target is None else upsample(target, sizes[0]).clamp(0, 1)
