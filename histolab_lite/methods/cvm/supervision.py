"""What supervises a network in addition to the clicks: the variational segmentation, or simpler forms of it.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023, Sect. 4.2 and 4.3, Table 1 and Fig. 3. Each adds a loss to the partial cross-entropy.
The mean teacher and the CRF, with which the paper compares itself, are in ``baselines``.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.kernels.contrast_maps import contrast_maps
from histolab_lite.methods.cvm.losses import weighted_kl
from histolab_lite.methods.cvm.segmentation import segment, stretch, variational


class Supervision:
    """Supervise by the clicks alone, with the partial cross-entropy: the paper's baseline, and the base class.

    Public attributes are settings and never change. A run does not continue from a checkpoint of other settings.
    """

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """Compute the target of a training image from the present network.

        It is computed when the validation loss is the lowest so far, and kept until the next such epoch.

        Parameters
        ----------
        features
            (C, h, w), the paper's Feature Map 2.
        logits
            (h, w), the network's output.
        points
            {1: inside, 0: outside}, (row, col) on that grid.

        Returns
        -------
        torch.Tensor or None
            (h, w) in [0, 1]; None where there is no target.
        """
        return None

    def loss(
        self, network: nn.Module, x: torch.Tensor, logits: torch.Tensor, target: torch.Tensor | None
    ) -> torch.Tensor:
        """Compute what one image adds to the partial cross-entropy; 0 as long as there is no target.

        Parameters
        ----------
        network
            The network in training.
        x
            (C, h, w), its input.
        logits
            (h, w), its output.
        target
            (h, w), in the orientation of x.
        """
        return logits.new_zeros(()) if target is None else self.distance(logits, target)

    def distance(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Measure how far the output is from the target: L_wkl."""
        return weighted_kl(logits, target)

    def start(self, network: nn.Module) -> None:
        """Begin a run: forget any earlier one."""

    def before_step(self, network: nn.Module) -> None:
        """Prepare a step of the optimiser; the network is as the last step left it."""

    def state_dict(self) -> dict:
        """Return what a stopped run needs, apart from the targets, to continue."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` returned."""


class ContrastMap(Supervision):
    """Supervise by the mean contrast map of all pairs, stretched to [0, 1], without a variational step."""

    def __init__(self, eta: float = 0.6) -> None:
        self.eta = eta

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """Compute the map of eq. 5."""
        return stretch(contrast_maps(features, points[1], points[0], self.eta).mean(0))


class ContrastVariational(Supervision):
    """Supervise by u, the variational segmentation of the contrast maps (eq. 7): the paper's method."""

    def __init__(self, eta: float = 0.6, lam: float = 10.0) -> None:
        self.eta, self.lam = eta, lam

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """Compute u."""
        return segment(features, points[1], points[0], self.eta, self.lam)


class TwoSidedVariational(ContrastVariational):
    """Supervise by (u + 1 - u') / 2, where u' is eq. 7 with inside and outside exchanged. Not in the paper.

    The paper's u asks how much a location resembles the clicks inside. In a target that varies it leaves out every
    location that resembles no click, with certainty. Where both u and u' claim a location, or neither does, this target
    is 1/2, which has the least weight in L_wkl.
    """

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """Compute (u + 1 - u') / 2."""
        inside = segment(features, points[1], points[0], self.eta, self.lam)
        return (inside + 1 - segment(features, points[0], points[1], self.eta, self.lam)) / 2


class HardVariational(ContrastVariational):
    """Supervise by u >= 0.5 with the cross-entropy, every pixel with the same weight: the other curve of Fig. 3a."""

    def distance(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the cross-entropy of the target cut at 0.5."""
        return F.binary_cross_entropy_with_logits(logits, (target >= 0.5).to(logits.dtype))


class VariationalOutput(Supervision):
    """Supervise by eq. 1 on the network's own output ŷ: Table 1's Direct Variational Regularization."""

    def __init__(self, lam: float = 10.0) -> None:
        self.lam = lam

    def target(
        self, features: torch.Tensor, logits: torch.Tensor, points: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """Segment ŷ."""
        return variational(logits.sigmoid()[None], self.lam)[0]
