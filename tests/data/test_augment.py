"""Views stay images, differ from each other, and repeat by seed; stain jitter moves stains and nothing else."""

import pytest
import torch

from histolab_lite.data.augment import StainJitter, contrastive_views, random_flips
from histolab_lite.data.stain import concentrations, from_optical_density, stain_matrix, to_optical_density


def tissue(n: int = 2, size: int = 16, seed: int = 0) -> torch.Tensor:
    """(n, 3, size, size): mixtures of haematoxylin and eosin with some of what neither explains."""
    generator = torch.Generator().manual_seed(seed)
    amounts = torch.rand(n, size, size, 3, generator=generator) * torch.tensor([0.6, 0.6, 0.2]) + 0.1
    return from_optical_density(amounts @ stain_matrix()).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("size", "patch"), [(32, 32), (19, 32)])
def test_views_are_images_of_the_wanted_size(size, patch):
    torch.manual_seed(0)
    out = contrastive_views(size)(tissue(5, patch))
    assert out.shape == (5, 3, size, size)
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert out.std(dim=(1, 2, 3)).min() > 0


def test_views_repeat_by_seed_and_differ_between_calls_and_patches():
    views = contrastive_views(16)
    x = tissue(1).expand(6, -1, -1, -1)
    torch.manual_seed(3)
    first, second = views(x), views(x)
    torch.manual_seed(3)
    assert torch.equal(views(x), first)
    assert not torch.equal(first, second)
    assert torch.pdist(first.flatten(1), p=torch.inf).min() > 1e-3


def test_the_eight_orientations_all_occur():
    """Four quadrants of four greys: the order of their means tells the orientation."""
    quadrants = torch.tensor([[0.2, 0.4], [0.8, 0.6]]).repeat_interleave(8, 0).repeat_interleave(8, 1)
    torch.manual_seed(0)
    views = contrastive_views(16, stain_strength=0.0)(quadrants.expand(200, 3, -1, -1))
    order = torch.nn.functional.avg_pool2d(views.mean(1), 8).flatten(1).argsort(1)
    found, counts = order.unique(dim=0, return_counts=True)
    assert len(found) == 8
    assert counts.min() >= 8


@pytest.mark.parametrize(("size", "zoom", "width"), [(24, None, 2), (40, (0.25, 0.25), 4)])
def test_a_view_is_a_window_at_the_scale_of_the_patch_unless_it_is_zoomed(size, zoom, width):
    """Stripes two pixels wide stay so, wherever the window lies; from a quarter of the area they come out double."""
    stripes = (torch.arange(40) // 2 % 2 * 0.5 + 0.25).expand(60, 3, 40, 40)
    torch.manual_seed(0)
    starts = set()
    for view in contrastive_views(size, stain_strength=0.0, grey=0.0, zoom=zoom)(stripes).mean(1):
        turned = view.diff(dim=0).abs().sum() > view.diff(dim=1).abs().sum()
        profile = (view.mean(1) if turned else view.mean(0))[2:-2]  # the blur mirrors the window's border
        changes = (profile > profile.mean()).int().diff().nonzero()[:, 0]
        assert changes.diff().float().mean() == pytest.approx(width, abs=0.3 if zoom else 0)
        starts.add(int(changes[0]))
    assert len(starts) >= 2


def test_grey_views_have_no_colour():
    torch.manual_seed(0)
    x = tissue(20)
    assert (contrastive_views(16, grey=1.0)(x).std(1) < 1e-5).all()
    assert (contrastive_views(16, grey=0.0)(x).std(1).mean((1, 2)) > 1e-2).all()


def fitted_change(x: torch.Tensor, jittered: torch.Tensor) -> torch.Tensor:
    """The 3×3 matrix and the constant, (4, 3), that jitter the optical density of a patch."""
    old, new = (to_optical_density(image).flatten(1).T.double() for image in (x, jittered))
    seen = (new > 1e-3).all(1) & (new < 2.3).all(1)  # neither clipped at white nor at black
    assert seen.sum() > 50
    old = torch.cat([old, torch.ones_like(old[:, :1])], 1)[seen]
    change = torch.linalg.lstsq(old, new[seen]).solution
    torch.testing.assert_close(old @ change, new[seen], atol=1e-4, rtol=0)
    return change


def test_jitter_is_one_change_of_stains_and_light_for_the_whole_patch():
    x = tissue(8)
    torch.manual_seed(1)
    for patch, jittered, only_light in zip(x, StainJitter(0.3)(x), StainJitter(0.0)(x), strict=True):
        vectors = torch.nn.functional.normalize(stain_matrix() @ fitted_change(patch, jittered)[:3].float(), dim=1)
        assert (vectors - stain_matrix()).abs().max() > 0.02  # their colour varies, not only their amount
        change = fitted_change(patch, only_light)
        torch.testing.assert_close(change[:3], torch.eye(3).double(), atol=1e-3, rtol=0)
        assert change[3].abs().max() < 0.1
        assert change[3].std() < 1e-3 < change[3].abs().mean()


def test_patches_are_jittered_apart_and_more_so_with_strength():
    x = tissue(1).expand(64, -1, -1, -1)
    spread = []
    for strength in (0.1, 0.5):
        torch.manual_seed(0)
        amounts = concentrations(StainJitter(strength)(x).permute(0, 2, 3, 1)).mean((1, 2))
        spread.append(amounts[:, :2].std(0))
    assert (spread[0] > 0.01).all()
    assert (spread[1] > 2 * spread[0]).all()


def test_white_stays_bright():
    torch.manual_seed(0)
    assert StainJitter(0.7)(torch.ones(50, 3, 2, 2)).min() > 0.8


def test_a_patch_and_its_masks_are_flipped_alike_and_every_way_round():
    ids = torch.arange(12).reshape(3, 4)
    masks = ids.expand(64, 3, 4)
    torch.manual_seed(0)
    x, first, second = random_flips(masks[:, None].expand(-1, 3, -1, -1).float(), masks, masks + 1)
    assert torch.equal(x[:, 0].long(), first)
    assert torch.equal(x[:, 2], x[:, 0])
    assert torch.equal(second, first + 1)
    ways = {tuple(way.flatten().tolist()) for way in (ids, ids.flip(0), ids.flip(1), ids.flip(0, 1))}
    assert {tuple(mask.flatten().tolist()) for mask in first} == ways
