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


def test_a_view_is_a_window_at_the_scale_of_the_patch():
    """Stripes two pixels wide stay two pixels wide, wherever the window lies: nothing is resized."""
    stripes = (torch.arange(40) // 2 % 2 * 0.5 + 0.25).expand(60, 3, 40, 40)
    torch.manual_seed(0)
    starts = set()
    for view in contrastive_views(24, stain_strength=0.0, grey=0.0)(stripes).mean(1):
        turned = view.diff(dim=0).abs().sum() > view.diff(dim=1).abs().sum()
        profile = (view.mean(1) if turned else view.mean(0))[2:-2]  # the blur mirrors the window's border
        changes = (profile > profile.mean()).int().diff().nonzero()[:, 0]
        assert (changes.diff() == 2).all()
        starts.add(int(changes[0]))
    assert len(starts) == 2


def test_grey_views_have_no_colour():
    torch.manual_seed(0)
    x = tissue(20)
    assert (contrastive_views(16, grey=1.0)(x).std(1) < 1e-5).all()
    assert (contrastive_views(16, grey=0.0)(x).std(1).mean((1, 2)) > 1e-2).all()


def test_jitter_of_strength_zero_changes_only_the_light():
    x = tissue(8)
    torch.manual_seed(0)
    before, after = to_optical_density(x), to_optical_density(StainJitter(0.0)(x))
    for old, new in zip(before, after, strict=True):
        shift = (new - old)[(old > 1e-3) & (new > 1e-3)]  # not clipped at white
        assert len(shift) > old.numel() / 2
        torch.testing.assert_close(shift, shift.mean().expand_as(shift), atol=1e-4, rtol=0)
        assert 0 < shift.mean().abs() < 0.1


def test_jitter_is_one_change_for_the_whole_patch():
    """In optical density it is one 3×3 matrix and a constant, found again by least squares."""
    x = tissue(3)
    torch.manual_seed(1)
    before, after = (to_optical_density(image).flatten(2).transpose(1, 2) for image in (x, StainJitter(0.3)(x)))
    for old, new in zip(before, after, strict=True):
        seen = (new > 1e-3).all(1) & (new < 2.3).all(1)  # neither clipped at white nor at black
        assert seen.sum() > 50
        old, new = torch.cat([old[seen], torch.ones(int(seen.sum()), 1)], 1).double(), new[seen].double()
        fitted = torch.linalg.lstsq(old, new).solution
        torch.testing.assert_close(old @ fitted, new, atol=1e-4, rtol=0)
        assert (fitted[:3] - torch.eye(3)).abs().max() > 0.02


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


def test_zoomed_views_magnify_and_keep_their_size():
    """A stripe every 8 pixels: in a window of a quarter of the area, brought to the patch's size, every 16."""
    stripes = ((torch.arange(64) // 4 % 2).float()).expand(200, 3, 64, 64)
    plain = contrastive_views(64, stain_strength=0.0, grey=0.0)(stripes)
    zoomed = contrastive_views(64, stain_strength=0.0, grey=0.0, zoom=(0.25, 0.25))(stripes)
    assert zoomed.shape == plain.shape

    def crossings(views):  # along whichever axis the stripes run after a quarter turn
        dark = views.mean(1) > views.mean((1, 2, 3))[:, None, None]
        along = [(dark.diff(dim=axis) != 0).float().sum(axis).mean((1,)) for axis in (1, 2)]
        return torch.stack(along).amax(0).mean()

    assert 0.4 < crossings(zoomed) / crossings(plain) < 0.6
