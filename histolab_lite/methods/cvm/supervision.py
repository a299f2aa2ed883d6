"""What supervises a network beside the clicks: the variational segmentation, and the paper's simpler forms of it.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023, Sect. 4.2 and 4.3, Table 1 and Fig. 3. Each is added to the partial cross-entropy.
Mean teacher and CRF, which the paper compares with, stand in ``baselines``.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.kernels.chan_vese import chan_vese
from histolab_lite.kernels.contrast_maps import contrast_maps
from histolab_lite.methods.cvm.losses import weighted_kl
from histolab_lite.methods.cvm.segmentation import segment, stretch


class Supervision:
    """Nothing beside the clicks: the partial cross-entropy alone, the paper's baseline. The base of all others.

    Public attributes are settings and never change; a checkpoint of other settings is not resumed from.
    """

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """What a training image should look like, (h, w) in [0, 1], by the network as it is; None for no such thing.

        features: (C, h, w), Feature Map 2. logits: (h, w). points: {1: inside, 0: outside}, (row, col) on that grid.
        Asked for when the validation loss is the lowest so far, and kept until it is again.
        """
        return None

    def loss(
        self, network: nn.Module, x: torch.Tensor, logits: torch.Tensor, target: torch.Tensor | None
    ) -> torch.Tensor:
        """What one image adds to the partial cross-entropy. Before there is a target: 0.

        network: the one in training. x: (C, h, w), its input. logits: (h, w), its answer. target: turned as x is.
        """
        return logits.new_zeros(()) if target is None else self.distance(logits, target)

    def distance(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """How far the answer is from the target: L_wkl."""
        return weighted_kl(logits, target)

    def start(self, network: nn.Module) -> None:
        """A run begins: forget any other."""

    def before_step(self, network: nn.Module) -> None:
        """The network as the last step left it."""

    def state_dict(self) -> dict:
        """What it has to remember, beside the targets, to go on as if never stopped."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Go on from there."""


class ContrastMap(Supervision):
    """The mean contrast map of all pairs, stretched to [0, 1]: no variational step."""

    def __init__(self, eta: float = 0.6) -> None:
        self.eta = eta

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        return stretch(contrast_maps(features, points[1], points[0], self.eta).mean(0))


class ContrastVariational(Supervision):
    """The paper's method: u, the variational segmentation of the contrast maps (eq. 7)."""

    def __init__(self, eta: float = 0.6, lam: float = 10.0) -> None:
        self.eta, self.lam = eta, lam

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        return segment(features, points[1], points[0], self.eta, self.lam)


class TwoSidedVariational(ContrastVariational):
    """Ours: u of the target and u of the rest, which is eq. 7 with the points' roles exchanged, in one: (u + 1 - u')/2.

    The paper's u asks how like the clicks inside a place is, and where a target varies it leaves out what no click is
    like, and is sure of that. Where both sides claim a place, or neither, this is 1/2, which weighs least in L_wkl.
    """

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        inside = segment(features, points[1], points[0], self.eta, self.lam)
        return (inside + 1 - segment(features, points[0], points[1], self.eta, self.lam)) / 2


class HardVariational(ContrastVariational):
    """Fig. 3a's other curve: the same u cut off at 0.5, by the cross-entropy, as sure of one place as of another."""

    def distance(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(logits, (target >= 0.5).to(logits.dtype))


class VariationalOutput(Supervision):
    """Table 1's Direct Variational Regularization: eq. 1 on the network's own output ŷ."""

    def __init__(self, lam: float = 10.0) -> None:
        self.lam = lam

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        u = chan_vese(logits.sigmoid()[None], self.lam)
        assert isinstance(u, torch.Tensor)
        return u[0]
