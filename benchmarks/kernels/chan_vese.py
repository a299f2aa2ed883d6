"""Chan–Vese on a noisy contrast map, beside the explicit scheme of reference.py and scikit-image's level set.

The two peers stop by other rules than ours. Both get the number of iterations that brings their energy within 1e-4 of
the least that they reach, found beforehand; ours stops by its own rule and must get as near. scikit-image also runs
with its defaults: its own start and its own rule, which stops it sooner.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.harness import Case
from histolab_lite.kernels.chan_vese import chan_vese

SIDE, LAM, NEAR = 256, 10.0, 1e-4
EXPLICIT, LEVEL_SET, DEFAULTS = "explicit scheme", "scikit-image chan_vese", "scikit-image chan_vese, its defaults"


def contrast_map(side: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Blobs a tenth of the side wide, under noise fine and two pixels coarse, as a map (1, H, W); and their mask."""
    generator = np.random.default_rng(seed)
    field = gaussian_filter(generator.standard_normal((side, side)), side / 18, mode="wrap")
    mask = field > np.quantile(field, 0.7)
    coarse = gaussian_filter(generator.standard_normal((side, side)), 1.0)
    z = gaussian_filter(0.5 * mask, 1.5) + 0.6 * coarse + 0.12 * generator.standard_normal((side, side))
    z = (z - z.min()) / (z.max() - z.min())
    return torch.from_numpy(z).float()[None], torch.from_numpy(mask)


def dice(found: torch.Tensor, mask: torch.Tensor) -> float:
    return 2 * (found & mask).sum().item() / (found.sum() + mask.sum()).item()


def cases() -> list[Case]:
    z, mask = contrast_map(SIDE)

    @cache
    def least() -> float:
        energy: Any = chan_vese(z, LAM, tolerance=1e-8, max_iter=3000, return_energy=True)
        return energy[1][-1].item()

    @cache
    def explicit_iterations() -> int:
        energy: Any = chan_vese(z, LAM, tolerance=0, max_iter=30, return_energy=True, backend="reference")
        return int((energy[1][:, 0] <= (1 + NEAR) * least()).nonzero()[0])

    def level_set(**options: Any) -> Any:
        from skimage.segmentation import chan_vese as skimage_chan_vese

        # The same weight of length to data as ours.
        return skimage_chan_vese(z[0].numpy(), mu=1 / LAM, extended_output=True, **options)

    def long_level_set(iterations: int) -> Any:
        # About the start of ours: the sign of z minus its mean.
        return level_set(tol=0.0, max_num_iter=iterations, init_level_set=(z - z.mean())[0].numpy())

    @cache
    def level_set_iterations() -> int:
        energies = np.array(long_level_set(500)[2])
        return int(np.argmax(energies <= (1 + NEAR) * energies.min())) + 1

    def check(ours: Any, peers: dict[str, Any]) -> str:
        u, energy = ours
        excess = energy[-1].item() / least() - 1
        scores = {"ours": dice(u[0] >= 0.5, mask)}
        if EXPLICIT in peers:
            scores[EXPLICIT] = dice(peers[EXPLICIT][0] >= 0.5, mask)
        for name in {LEVEL_SET, DEFAULTS} & peers.keys():
            scores[name] = dice(torch.from_numpy(peers[name][0]), mask)
        assert excess <= NEAR, f"energy {excess:.1e} above the least"
        assert scores["ours"] >= max(scores.values()) - 0.005, f"Dice {scores}"
        return f"energy {excess:.0e} above the least; Dice " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items())

    return [
        Case(
            "Chan–Vese",
            f"one {SIDE}² map to {NEAR:.0e} relative energy",
            lambda: chan_vese(z, LAM, return_energy=True),
            {
                EXPLICIT: lambda: chan_vese(z, LAM, tolerance=0, max_iter=explicit_iterations(), backend="reference"),
                LEVEL_SET: lambda: long_level_set(level_set_iterations()),
                DEFAULTS: level_set,
            },
            at_least={EXPLICIT: 20.0, LEVEL_SET: 3.0, DEFAULTS: 3.0},
            check=check,
        )
    ]
