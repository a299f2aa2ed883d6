"""Phase one: a network learns which tissues a patch shows, from tags alone (Sect. III-A).

Where the authors' code differs from the paper, this module follows the paper: see ``attention``. Their code does
more that the paper does not mention: it freezes the first blocks and every batch normalisation, drops half of the
features before pooling, and gives the head ten times the learning rate.
"""

from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.data.augment import StainJitter, random_flips
from histolab_lite.data.batches import check_patches, to_input
from histolab_lite.kernels.dropout_attention import dropout_attention
from histolab_lite.methods.mlps.attention import PROGRESSIVE, DropoutCoefficient
from histolab_lite.models.resnet38 import ResNet38
from histolab_lite.training import Schedule, TrainOptions, fit, pick_device, with_defaults


class Classifier(nn.Module):
    """ResNet38, global average pooling and a linear layer: (B, 3, H, W) in [0, 1] -> logits (B, K) (eq. 5).

    Parameters
    ----------
    n_classes
        K, at least 2.
    trunk
        A ResNet38 to start from (``load_resnet38``), which is trained in place; or a width, for random weights.

    Raises
    ------
    ValueError
        There are fewer than two classes.
    """

    def __init__(self, n_classes: int, trunk: ResNet38 | float = 1.0) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"a classifier of tissues needs at least two classes, not {n_classes}.")
        self.n_classes = n_classes
        self.trunk = trunk if isinstance(trunk, ResNet38) else ResNet38(trunk)
        self.head = nn.Linear(self.trunk.channels, n_classes, bias=False)  # its weights are ω of eq. 5 and 7
        nn.init.xavier_uniform_(self.head.weight)

    def forward(self, x: torch.Tensor, mu: float | None = None) -> torch.Tensor:
        """Return logits (B, K) of images (B, 3, H, W) in [0, 1].

        Parameters
        ----------
        mu
            The coefficient of dropout attention; None leaves the attention out, as after training.
        """
        m = self.trunk(x)["bn7"]
        if mu is not None:
            m = dropout_attention(m, self.head.weight, mu)  # eq. 4
        return self.head(m.mean((2, 3)))


class _Steps:
    """Number of batches seen, so that μ goes on where a killed run was."""

    def __init__(self) -> None:
        self.done = 0

    def state_dict(self) -> dict:
        return {"done": self.done}

    def load_state_dict(self, state: dict) -> None:
        self.done = state["done"]


def train_classifier(
    model: Classifier,
    patches: np.ndarray,
    tags: np.ndarray,
    *,
    attention: DropoutCoefficient | None = PROGRESSIVE,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """Train a classifier in place with the multi-label soft margin loss.

    The paper's optimizer is SGD at a rate of 0.01 with polynomial decay; here it is AdamW, with the same decay.

    Parameters
    ----------
    patches
        uint8 (N, H, W, 3).
    tags
        Which tissues a patch shows: (N, K) of 0 and 1, or of False and True.
    attention
        PROGRESSIVE is the paper's, ``constant(0.7)`` its ablation, None no attention.
    stain_strength
        As in `StainJitter`. The paper only flips patches, which is 0.
    options
        See `TrainOptions`. By default 20 epochs in batches of 20 at a learning rate of 1e-3.

    Returns
    -------
    list of float
        The mean loss of every epoch.

    Raises
    ------
    ValueError
        Patches and tags do not belong together.
    """
    options = with_defaults(options, epochs=20, batch_size=20, lr=1e-3, progress="classifier")
    targets = check_tags(tags, len(patches), model.n_classes).float()
    check_patches(patches)
    device = pick_device(options.get("device"))
    jitter = StainJitter(stain_strength).to(device)
    steps = _Steps()

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        (x,) = random_flips(jitter(to_input(patches[indices.numpy()], device)))
        batches = max(len(patches) // options["batch_size"], 1)
        mu = attention(steps.done // batches) if attention else None
        steps.done += 1
        return F.multilabel_soft_margin_loss(model(x, mu).float(), targets[indices].to(device))

    return fit(
        model,
        loss,
        len(patches),
        data=[patches, targets],
        schedule=Schedule("poly"),
        extra=steps,
        settings={"attention": attention, "stain_strength": stain_strength},
        **options,
    )


@torch.inference_mode()
def classify(model: Classifier, images: torch.Tensor, mu: float | None = None) -> torch.Tensor:
    """Return the probability ŷ of every tissue in images: (B, 3, H, W) in [0, 1] -> (B, K) float32.

    The paper describes the attention as part of training, and its authors' code leaves it out afterwards; but eq. 5
    has it.

    Parameters
    ----------
    mu
        None leaves the attention out; a number keeps it at this coefficient, such as that of the last epoch.
    """
    model.eval()
    return model(images.to(next(model.parameters()).device), mu).float().sigmoid()


def check_tags(tags: np.ndarray | torch.Tensor, n_images: int, n_classes: int) -> torch.Tensor:
    """Return tags (N, K) as bool.

    Raises
    ------
    ValueError
        The shape is another, or there are values other than 0 and 1.
    """
    found = tags if isinstance(tags, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(tags))
    if found.shape != (n_images, n_classes):
        raise ValueError(f"expected tags of {n_images} images and {n_classes} classes; got {(*found.shape,)}.")
    if not ((found == 0) | (found == 1)).all():
        raise ValueError("a tag is 0 (the tissue is absent) or 1 (it is present); other values were found.")
    return found.bool()
