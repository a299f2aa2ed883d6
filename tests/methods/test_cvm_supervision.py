"""What supervises beside the clicks: the paper's targets, and its two rivals against slow loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from histolab_lite.kernels.chan_vese import chan_vese
from histolab_lite.kernels.contrast_maps import contrast_maps
from histolab_lite.methods.cvm import segment
from histolab_lite.methods.cvm.baselines import MeanTeacher, NeighbourCRF
from histolab_lite.methods.cvm.losses import weighted_kl
from histolab_lite.methods.cvm.supervision import (
    ContrastMap,
    ContrastVariational,
    HardVariational,
    Supervision,
    TwoSidedVariational,
    VariationalOutput,
)

POINTS = {1: torch.tensor([[1, 1], [4, 2]]), 0: torch.tensor([[2, 6], [5, 5]])}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def halves() -> tuple[torch.Tensor, torch.Tensor]:
    """Features (4, 7, 8) that differ left and right, and logits (7, 8)."""
    features = 0.2 * torch.randn(4, 7, 8, generator=seeded())
    features[0, :, :4] += 1
    features[1, :, 4:] += 1
    return features, 3 * torch.randn(7, 8, generator=seeded(1))


def test_clicks_alone_have_no_target_and_no_loss():
    features, logits = halves()
    assert Supervision().target(features, logits, POINTS) is None
    assert Supervision().loss(nn.Identity(), features, logits, None) == 0


@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_the_contrast_map_is_the_mean_over_all_pairs_stretched(eta):
    features, logits = halves()
    pairs = [
        contrast_maps(features, p[None], q[None], eta)[0].numpy() for p in POINTS[1] for q in POINTS[0]
    ]  # each C_pq of eq. 5
    mean = np.mean(pairs, 0)
    expected = (mean - mean.min()) / (mean.max() - mean.min())
    np.testing.assert_allclose(ContrastMap(eta).target(features, logits, POINTS), expected, atol=1e-6)


def test_the_papers_target_is_u_of_feature_map_2():
    features, logits = halves()
    for kind in (ContrastVariational, HardVariational):
        target = kind(eta=0.3, lam=20).target(features, logits, POINTS)
        assert torch.equal(target, segment(features, POINTS[1], POINTS[0], 0.3, 20))
        assert not torch.equal(target, kind(eta=0.9, lam=1).target(features, logits, POINTS))


def test_the_two_sided_target_is_sure_where_target_and_rest_agree():
    features, logits = halves()
    own, rest = segment(features, POINTS[1], POINTS[0], 0.3, 20), segment(features, POINTS[0], POINTS[1], 0.3, 20)
    target = TwoSidedVariational(0.3, 20).target(features, logits, POINTS)
    for i in range(7):
        for j in range(8):
            assert target[i, j].item() == pytest.approx((own[i, j].item() + 1 - rest[i, j].item()) / 2, abs=1e-6)
    swapped = TwoSidedVariational(0.3, 20).target(features, logits, {0: POINTS[1], 1: POINTS[0]})
    torch.testing.assert_close(swapped, 1 - target)


def test_direct_regularisation_segments_the_output_and_needs_no_features():
    _, logits = halves()
    expected = chan_vese(torch.sigmoid(logits)[None], 5.0)[0]
    assert torch.equal(VariationalOutput(5.0).target(torch.empty(0), logits, POINTS), expected)


@pytest.mark.parametrize("kind", [ContrastMap, ContrastVariational, TwoSidedVariational, VariationalOutput])
def test_a_soft_target_is_approached_by_the_weighted_divergence(kind):
    features, logits = halves()
    target = torch.rand(7, 8, generator=seeded(2))
    assert torch.equal(kind().loss(nn.Identity(), features, logits, target), weighted_kl(logits, target))
    assert kind().loss(nn.Identity(), features, logits, None) == 0


def test_a_hard_target_is_approached_by_the_cross_entropy_of_its_cut():
    features, logits = halves()
    target = torch.rand(7, 8, generator=seeded(2))
    target[0, 0] = 0.5
    total = 0.0
    for s, u in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        total += math.log1p(math.exp(-s if u >= 0.5 else s)) / 56
    assert HardVariational().loss(nn.Identity(), features, logits, target).item() == pytest.approx(total, rel=1e-5)
    assert HardVariational().loss(nn.Identity(), features, logits, None) == 0


# CRF


def oracle_crf(x: torch.Tensor, logits: torch.Tensor, radius: int, sigma: float) -> float:
    """Over all ordered pairs of pixels, two loops deep."""
    h, w = logits.shape
    y = torch.sigmoid(logits)
    places = [(i, j) for i in range(h) for j in range(w)]
    pairs = [(a, b) for a in places for b in places if a != b and max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= radius]
    far = [float((x[:, *a] - x[:, *b]).square().sum()) for a, b in pairs]
    mean = sum(far) / len(far)
    disagreement = total = 0.0
    for (a, b), distance in zip(pairs, far, strict=True):
        near = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
        weight = math.exp(-distance / (2 * mean) - near / (2 * sigma**2))
        disagreement += weight * float(y[a] * (1 - y[b]) + (1 - y[a]) * y[b])
        total += weight
    return disagreement / total


@pytest.mark.parametrize(("h", "w", "radius"), [(5, 6, 2), (4, 1, 1), (2, 3, 3), (1, 6, 3)])
def test_the_crf_loss_is_the_loop_over_all_pairs_of_near_pixels(h, w, radius):
    x, logits = torch.randn(3, h, w, generator=seeded()), torch.randn(h, w, generator=seeded(1))
    value = NeighbourCRF(radius, 1.5, weight=2.0).loss(nn.Identity(), x, logits, None)
    assert value.item() == pytest.approx(2 * oracle_crf(x, logits, radius, 1.5), rel=1e-4)


def test_the_crf_asks_less_of_pixels_that_look_different():
    x = torch.zeros(1, 4, 8)
    x[:, :, 4:] = 1
    along, across = torch.full((4, 8), 4.0), torch.full((4, 8), 4.0)
    along[:, 4:] = -4  # the answer's border is the image's
    across[2:] = -4
    crf = NeighbourCRF()
    assert crf.loss(nn.Identity(), x, along, None) < 0.5 * crf.loss(nn.Identity(), x, across, None)


def test_the_crf_of_an_even_image_or_a_single_pixel_is_finite():
    for shape in ((3, 3), (1, 1)):
        logits = torch.randn(shape, requires_grad=True)
        value = NeighbourCRF().loss(nn.Identity(), torch.ones(2, *shape), logits, None)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()


# Mean teacher


def pixelwise(weight: float) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, affine=False))
    nn.init.constant_(network[0].weight, weight)
    return network


def test_the_teacher_is_the_running_mean_of_the_network_with_its_latest_statistics():
    network = pixelwise(0.0)
    teacher = MeanTeacher(momentum=0.6)
    teacher.start(network)
    expected = 0.0
    for step, weight in enumerate([1.0, 3.0, -2.0, 5.0]):
        nn.init.constant_(network[0].weight, weight)
        network[1].running_mean.fill_(step)
        teacher.before_step(network)
        momentum = min(0.6, step / (step + 1))
        expected = momentum * expected + (1 - momentum) * weight
        assert teacher._teacher[0].weight.item() == pytest.approx(expected)
        assert teacher._teacher[1].running_mean.item() == step
    assert network[0].weight.item() == 5
    teacher.start(network)
    assert teacher._teacher[0].weight.item() == 5
    assert not teacher._teacher.training


def test_only_where_the_teacher_is_sure_does_the_network_follow_it():
    network = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    teacher = MeanTeacher(noise=0.0, ramp=1, weight=3.0, threshold=0.75)
    teacher.start(network)
    teacher.before_step(network)
    x = torch.tensor([[[0.0, 0.5, 2.0, -4.0]]])
    logits = torch.tensor([[1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    value = teacher.loss(network, x, logits, None)
    value.backward()
    sure = []
    for s in (0.0, 0.5, 2.0, -4.0):
        p = 1 / (1 + math.exp(-s))
        if -p * math.log(p) - (1 - p) * math.log(1 - p) < 0.75 * math.log(2):
            sure.append((1 / (1 + math.exp(-1)) - p) ** 2)
    assert len(sure) == 2
    assert value.item() == pytest.approx(3 * sum(sure) / 2, rel=1e-5)
    assert (logits.grad[0] != 0).tolist() == [False, False, True, True]


def test_the_teachers_weight_rises_with_the_steps():
    network = nn.Conv2d(1, 1, 1, bias=False)
    teacher = MeanTeacher(noise=0.0, ramp=4)
    teacher.start(network)
    x, logits = torch.full((1, 1, 1), 40.0) * torch.sign(network.weight.detach()[0]), torch.zeros(1, 1)
    values = []
    for _ in range(6):
        teacher.before_step(network)
        values.append(teacher.loss(network, x, logits, None).item())
    full = values[-1]
    expected = [math.exp(-5 * (1 - t) ** 2) for t in (0.25, 0.5, 0.75, 1, 1, 1)]
    assert [value / full for value in values] == pytest.approx(expected)


def test_noise_is_drawn_anew_for_every_pass():
    torch.manual_seed(0)
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x[:, :1]

    teacher = MeanTeacher(passes=3, noise=0.5)
    teacher.start(Watching())
    x = 10 + 2 * torch.randn(2, 40, 40)
    teacher.loss(Watching(), x, torch.zeros(40, 40), None)
    (noisy,) = seen
    assert noisy.shape == (3, 2, 40, 40)
    assert (noisy - x).std((1, 2, 3)).tolist() == pytest.approx([0.5 * x.std(correction=0).item()] * 3, rel=0.05)
    assert not torch.equal(noisy[0], noisy[1])
