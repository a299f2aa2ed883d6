"""Training with weak labels: a segmentation network learns from clicks, and from what their contrast suggests.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023: L = L_pce + L_wkl (eq. 2); u is kept an image and renewed when the validation partial
cross-entropy is the lowest so far (Sect. 4.3.2); the network of the lowest one is the result (Sect. 5.2).
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

#: Table 1 and Fig. 3a, by name, and one of ours, "cvm two-sided". "full" is the partial cross-entropy of true masks.
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
    """losses: the mean of every epoch. validation: the partial cross-entropy after it. best: the epoch of the result.

    targets: what supervised each training image last, (H, W) float32 in [0, 1], such as u; None where nothing did.
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

    inputs: whole images, uint8 (H, W, 3), for ``UNet``; or maps of a feature extractor such as ``encode``'s, float
    (C, H, W), for ``MapUNet``. Sizes may differ. points: of each, {1: inside, 0: outside}, (N, 2), (row, col) on the
    input itself; one of each at least. validation: inputs and points of other images, better of other patients.
    supervision: a name in ``SUPERVISIONS``, or one with settings of its own, e.g. ``ContrastVariational(eta=0.3)``.
    masks: for "full", and only then: true masks (H, W), bool or 0 and 1, 255 left out. The validation is by points.

    An epoch shows every input ``repeats`` times, each time in one of its eight orientations; images are stain-jittered
    as well. Until the first epoch has ended there is no u, and the clicks alone supervise.
    radius: every point labels a square of 2·radius + 1 pixels, or cells of a map. cell: u is computed on Feature Map 2
    averaged over squares of this many pixels; 4 or so for images, whose every pixel would be dear.
    options: see `TrainOptions`; by default 12 epochs in batches of 4 at a learning rate of 1e-3.
    ValueError for inputs, points or masks that do not belong together, an unknown supervision, several processes, a
    checkpoint of another run.
    """
    options = with_defaults(options, epochs=12, batch_size=4, lr=1e-3, progress="weak labels")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("weak labels are learnt in one process; start without torchrun.")
    if min(repeats, cell) < 1:
        raise ValueError(f"repeats and cell are at least 1, not {repeats} and {cell}.")
    if isinstance(supervision, str) and supervision not in SUPERVISIONS:
        raise ValueError(f"supervision is one of {', '.join(SUPERVISIONS)}; not {supervision!r}.")
    if (supervision == "full") != (masks is not None):
        raise ValueError('masks belong to supervision "full", and it needs them.')
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
            raise ValueError(f"the network must give one logit a pixel, of being in the target, not {logits.shape[1]}.")
        values = []
        for answer, (x, y, target) in zip(logits[:, 0], batch, strict=True):
            own = answer[: x.shape[1], : x.shape[2]]
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
    """ŷ: the probability of the target, (H, W) float32 on the CPU, of an image or map as ``train`` takes them."""
    model.eval()
    return _logits(model, _as_input(x)[0])[0].sigmoid().cpu()


@dataclass
class _Run:
    """What a run must remember: a ``Stateful`` for ``fit``."""

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
        """(C, H, W) float, made when asked for: a byte a colour is what fits into memory."""
        return _as_input(self.values)[0]


def _images(inputs: Sequence[Input], points: Sequence[Clicks], radius: int) -> list[_Image]:
    if len(inputs) != len(points) or not len(inputs):
        raise ValueError(f"expected the points of every input; got {len(inputs)} inputs and points of {len(points)}.")
    images = []
    for index, (values, clicks) in enumerate(zip(inputs, points, strict=True)):
        if set(clicks) != {0, 1} or not all(len(clicked) for clicked in clicks.values()):
            raise ValueError(f"input {index} needs points inside (1) and outside (0); it has {sorted(clicks)}.")
        x, _ = _as_input(values)
        own = {name: torch.as_tensor(clicked) for name, clicked in clicks.items()}
        images.append(_Image(values, own, point_mask(own, (x.shape[1], x.shape[2]), radius)))
    return images


def _as_input(values: Input) -> tuple[torch.Tensor, bool]:
    """float (C, H, W), and whether it is an image."""
    x = torch.as_tensor(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
    if x.ndim == 3 and x.shape[2] == 3 and x.dtype == torch.uint8:
        return x.permute(2, 0, 1).float() / 255, True
    if x.ndim != 3 or not x.is_floating_point() or not x.numel():
        raise ValueError(f"expected an image, uint8 (H, W, 3), or a map, float (C, H, W); got {x.dtype} {(*x.shape,)}.")
    return x.float(), False


def _true_labels(masks: Sequence[np.ndarray], images: Sequence[_Image]) -> list[torch.Tensor]:
    labels = [torch.as_tensor(np.ascontiguousarray(mask)).to(torch.uint8) for mask in masks]
    if [mask.shape for mask in labels] != [image.labels.shape for image in images]:
        raise ValueError("expected one mask an input, of its rows and columns.")
    return labels


def _stacked(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B, C, H, W) of maps (C, h, w), filled up at the bottom and right by repeating the border."""
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
