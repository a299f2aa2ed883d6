"""The paper's two baselines by other authors against slow loops: CRF regularisation and the mean teacher."""

import math

import pytest
import torch
from torch import nn

from histolab_lite.methods.cvm.baselines import MeanTeacher, NeighbourCRF
from tests.methods.cvm.examples import seeded


def oracle_crf(x: torch.Tensor, logits: torch.Tensor, radius: int, sigma: float) -> float:
    """Over all ordered pairs of pixels."""
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


@pytest.mark.parametrize("shape", [(3, 3), (1, 1)])
def test_the_crf_of_an_even_image_or_a_single_pixel_is_finite(shape):
    logits = torch.randn(shape, requires_grad=True)
    value = NeighbourCRF().loss(nn.Identity(), torch.ones(2, *shape), logits, None)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_the_teacher_is_the_running_mean_of_the_network_with_its_latest_statistics():
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, affine=False))
    nn.init.constant_(network[0].weight, 0.0)
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


def test_only_where_the_teacher_is_certain_does_the_network_follow_it():
    network = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    teacher = MeanTeacher(noise=0.0, ramp=1, weight=3.0, threshold=0.75)
    teacher.start(network)
    teacher.before_step(network)
    values = [0.0, 0.5, 2.0, -4.0]
    logits = torch.ones(1, 4, requires_grad=True)
    value = teacher.loss(network, torch.tensor([[values]]), logits, None)
    value.backward()
    certain = []
    for p in (1 / (1 + math.exp(-s)) for s in values):
        if -p * math.log(p) - (1 - p) * math.log(1 - p) < 0.75 * math.log(2):
            certain.append((1 / (1 + math.exp(-1)) - p) ** 2)
    assert len(certain) == 2
    assert value.item() == pytest.approx(3 * sum(certain) / 2, rel=1e-5)
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
    expected = [math.exp(-5 * (1 - t) ** 2) for t in (0.25, 0.5, 0.75, 1, 1, 1)]
    assert [value / values[-1] for value in values] == pytest.approx(expected)


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
