"""Two baselines of Table 1 by other authors: uncertainty-aware mean teacher and CRF regularisation.

Mean teacher: Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, with the uncertainty of
Yu et al., "Uncertainty-aware self-ensembling model for semi-supervised 3D left atrium segmentation", MICCAI 2019.
CRF: Tang et al., "On regularized losses for weakly-supervised CNN segmentation", ECCV 2018, in a small window as in
Obukhov et al., "Gated CRF loss for weakly supervised semantic image segmentation", 2019. Neither uses a target.
"""

import math
from copy import deepcopy

import torch
from torch import nn

from histolab_lite.methods.cvm.losses import entropy
from histolab_lite.methods.cvm.supervision import Supervision


class MeanTeacher(Supervision):
    """Follow a slowly changing copy of the network, the teacher, where the teacher is certain under noise.

    The teacher's weights are a running mean of the network's. In evaluation mode it predicts x under Gaussian noise
    several times. The loss is the mean squared difference between ŷ and the mean prediction of the teacher, over the
    pixels where the entropy of that mean is low.

    Parameters
    ----------
    momentum
        Share of the teacher's old weights that is kept at every step.
    passes
        Predictions of the teacher per image, each under noise of its own.
    noise
        Standard deviation of the noise, as a share of that of x.
    threshold
        A pixel counts where the entropy is below this share of the greatest, ln 2.
    weight
        Weight of the loss after the ramp.
    ramp
        Steps in which the weight rises as e^(-5 (1 - t)²), t from 0 to 1.
    """

    def __init__(
        self,
        momentum: float = 0.99,
        passes: int = 4,
        noise: float = 0.1,
        threshold: float = 0.75,
        weight: float = 1.0,
        ramp: int = 60,
    ) -> None:
        self.momentum, self.passes, self.noise = momentum, passes, noise
        self.threshold, self.weight, self.ramp = threshold, weight, ramp

    def start(self, network: nn.Module) -> None:
        """Copy the network."""
        self._teacher = deepcopy(network).eval().requires_grad_(False)
        self._steps = 0

    @torch.no_grad()
    def before_step(self, network: nn.Module) -> None:
        """Move the teacher towards the network."""
        momentum = min(self.momentum, self._steps / (self._steps + 1))  # a plain mean at first
        for own, new in zip(self._teacher.parameters(), network.parameters(), strict=True):
            own.lerp_(new, 1 - momentum)
        for statistic, latest in zip(self._teacher.buffers(), network.buffers(), strict=True):
            statistic.copy_(latest)  # the statistics of batch normalisation
        self._steps += 1

    def loss(
        self, network: nn.Module, x: torch.Tensor, logits: torch.Tensor, target: torch.Tensor | None
    ) -> torch.Tensor:
        """Compute the mean squared difference to the teacher's prediction."""
        with torch.no_grad():
            noisy = x + self.noise * x.std(correction=0) * torch.randn(self.passes, *x.shape, device=x.device)
            predicted = self._teacher(noisy).float().sigmoid().mean(0)[0]
            certain = entropy(predicted) < self.threshold * math.log(2)
        ramp = math.exp(-5 * (1 - min(self._steps / self.ramp, 1)) ** 2)
        difference = (logits.sigmoid() - predicted).square()
        return self.weight * ramp * (difference * certain).sum() / certain.sum().clamp(min=1)

    def state_dict(self) -> dict:
        """Return the teacher's weights and the number of steps."""
        return {"teacher": self._teacher.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` returned."""
        self._teacher.load_state_dict(state["teacher"])
        self._steps = state["steps"]


class NeighbourCRF(Supervision):
    """Penalise different predictions for pixels that are near each other and look alike.

        L = Σ w_ij (ŷ_i (1 - ŷ_j) + (1 - ŷ_i) ŷ_j) / Σ w_ij,    w_ij = exp(-‖x_i - x_j‖² / 2m² - ‖i - j‖² / 2σ²)

    over all pairs of pixels that are at most ``radius`` rows and columns apart. x is the network's input, colours or
    features. m² is the mean of ‖x_i - x_j‖² over the pairs of the image, so that no bandwidth has to be chosen.

    Parameters
    ----------
    radius
        In pixels.
    sigma
        σ, in pixels.
    weight
        Weight of the loss.
    """

    def __init__(self, radius: int = 3, sigma: float = 2.0, weight: float = 1.0) -> None:
        self.radius, self.sigma, self.weight = radius, sigma, weight

    def loss(
        self, network: nn.Module, x: torch.Tensor, logits: torch.Tensor, target: torch.Tensor | None
    ) -> torch.Tensor:
        """Compute L for one image."""
        offsets = [(down, right) for down in range(self.radius + 1) for right in range(-self.radius, self.radius + 1)]
        offsets = [offset for offset in offsets if offset > (0, 0)]  # every pair once
        y = logits.sigmoid()
        far, disagreement, near = [], [], []
        for down, right in offsets:
            (a, b), (p, q) = _shifted(x, down, right), _shifted(y, down, right)
            far.append((a - b).square().sum(0).flatten())
            disagreement.append((p * (1 - q) + (1 - p) * q).flatten())
            near.append(torch.full_like(far[-1], -(down**2 + right**2) / (2 * self.sigma**2)))
        distance = torch.cat(far)
        w = torch.exp(torch.cat(near) - distance / (2 * distance.mean()).clamp(min=1e-12))
        return self.weight * (w * torch.cat(disagreement)).sum() / w.sum().clamp(min=1e-12)


def _shifted(values: torch.Tensor, down: int, right: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two cuts of (…, h, w): a pixel of the first has its neighbour, ``down`` and ``right`` of it, in the second."""
    h, w = values.shape[-2:]
    rows = slice(0, max(h - down, 0)), slice(down, h)
    columns = slice(max(-right, 0), max(w - max(right, 0), 0)), slice(max(right, 0), max(w + min(right, 0), 0))
    return values[..., rows[0], columns[0]], values[..., rows[1], columns[1]]
