"""What supervises in addition to the clicks: the paper's targets and the losses that approach them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from histolab_lite.kernels.chan_vese import chan_vese
from histolab_lite.kernels.contrast_maps import contrast_maps
from histolab_lite.methods.cvm import segment
from histolab_lite.methods.cvm.losses import weighted_kl
from histolab_lite.methods.cvm.supervision import (
    ContrastMap,
    ContrastVariational,
    HardVariational,
    Supervision,
    TwoSidedVariational,
    VariationalOutput,
)
from tests.methods.cvm.examples import halves, seeded

INSIDE, OUTSIDE = torch.tensor([[1, 1], [4, 2]]), torch.tensor([[2, 6], [5, 5]])
POINTS = {1: INSIDE, 0: OUTSIDE}
FEATURES, LOGITS = halves(7, 8, noise=0.2), 3 * torch.randn(7, 8, generator=seeded(1))
TARGET = torch.rand(7, 8, generator=seeded(2))
TARGET[0, 0] = 0.5


def mean_over_pairs(eta: float) -> torch.Tensor:
    """The mean of all C_pq of eq. 5, stretched."""
    pairs = [contrast_maps(FEATURES, p[None], q[None], eta)[0] for p in INSIDE for q in OUTSIDE]
    mean = torch.stack(pairs).mean(0)
    return (mean - mean.min()) / (mean.max() - mean.min())


def u(inside: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
    return segment(FEATURES, inside, outside, 0.3, 20)


@pytest.mark.parametrize(
    ("supervision", "expected"),
    [
        (ContrastMap(0.0), lambda: mean_over_pairs(0.0)),
        (ContrastMap(0.6), lambda: mean_over_pairs(0.6)),
        (ContrastVariational(0.3, 20), lambda: u(INSIDE, OUTSIDE)),
        (HardVariational(0.3, 20), lambda: u(INSIDE, OUTSIDE)),
        (TwoSidedVariational(0.3, 20), lambda: (u(INSIDE, OUTSIDE) + 1 - u(OUTSIDE, INSIDE)) / 2),
        (VariationalOutput(5.0), lambda: chan_vese(LOGITS.sigmoid()[None], 5.0)[0]),
    ],
)
def test_targets_are_those_of_the_paper(supervision, expected):
    np.testing.assert_allclose(supervision.target(FEATURES, LOGITS, POINTS), expected(), atol=1e-6)
    if not isinstance(supervision, HardVariational):
        assert torch.equal(supervision.loss(nn.Identity(), FEATURES, LOGITS, TARGET), weighted_kl(LOGITS, TARGET))
    assert supervision.loss(nn.Identity(), FEATURES, LOGITS, None) == 0


def test_clicks_alone_have_no_target():
    assert Supervision().target(FEATURES, LOGITS, POINTS) is None


def test_a_hard_target_is_approached_by_the_cross_entropy_of_its_cut():
    total = 0.0
    for s, u in zip(LOGITS.flatten().tolist(), TARGET.flatten().tolist(), strict=True):
        total += math.log1p(math.exp(-s if u >= 0.5 else s)) / 56
    assert HardVariational().loss(nn.Identity(), FEATURES, LOGITS, TARGET).item() == pytest.approx(total, rel=1e-5)
