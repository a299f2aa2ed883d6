"""Optical density: white is nothing, stains add up, and unmixing gives back what was mixed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.data import stain
from histolab_lite.data.stain import concentrations, from_optical_density, stain_matrix, to_optical_density


def test_stains_are_unit_vectors_and_the_third_is_what_neither_explains():
    stains = stain_matrix()
    torch.testing.assert_close(stains.norm(dim=1), torch.ones(3))
    for row, vector in zip(stains[:2], (stain.HAEMATOXYLIN, stain.EOSIN), strict=True):
        length = math.hypot(*vector)
        assert row.tolist() == pytest.approx([v / length for v in vector], abs=1e-6)
    assert (stains[2] @ stains[:2].T).tolist() == pytest.approx([0, 0], abs=1e-6)


@given(grey=st.integers(1, 255))
def test_density_is_minus_the_logarithm_and_back(grey):
    density = to_optical_density(torch.tensor(grey / 255))
    assert density.item() == pytest.approx(-math.log10(grey / 255), abs=1e-5)
    assert from_optical_density(density).item() == pytest.approx(grey / 255, abs=1e-5)


def test_black_is_dark_but_finite_and_brighter_than_white_is_white():
    assert to_optical_density(torch.zeros(1)).item() == pytest.approx(math.log10(255), abs=1e-5)
    assert to_optical_density(torch.tensor([1.0, 1.5])).abs().tolist() == [0, 0]
    assert from_optical_density(torch.tensor([-0.5])).item() == 1


@given(amounts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_unmixing_gives_back_the_amounts_mixed_in_an_image_of_any_shape(amounts):
    rgb = from_optical_density(torch.tensor([*amounts, 0.0]) @ stain_matrix())
    unmixed = concentrations(torch.stack([rgb, torch.ones(3)]).expand(4, 2, 3))
    assert unmixed.shape == (4, 2, 3)
    assert unmixed[2, 0].tolist() == pytest.approx([*amounts, 0], abs=1e-3)


def test_violet_nuclei_are_haematoxylin_and_pink_fibres_eosin():
    violet, pink = concentrations(torch.tensor([[90, 60, 130], [235, 150, 195]]) / 255)
    assert violet[0] > violet[1]
    assert pink[1] > pink[0]
