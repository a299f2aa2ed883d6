"""Projected gradient descent with the explicit scheme, in plain PyTorch: the specification.

Shared with the fast solvers: the edge weight, the starting point, the stopping rule and the unit of time, STEP.
"""

import math

import torch
import torch.nn.functional as F

STEP = 0.6  # time an iteration covers: AOS goes there in one step, the explicit scheme in many
WINDOW = 20  # iterations over which the stopping rule takes the fall of the energy
TINY = 1e-6  # pixels; gives a phase without any the mean of the whole map


def edge_weight(z: torch.Tensor, edge: float) -> torch.Tensor:
    """g (B, H, W) = 1 / (1 + edge |∇z|²)."""
    p = F.pad(z[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down, right = (p[:, 2:, 1:-1] - p[:, :-2, 1:-1]) / 2, (p[:, 1:-1, 2:] - p[:, 1:-1, :-2]) / 2
    return 1 / (1 + edge * (down.square() + right.square()))


def two_means_start(z: torch.Tensor) -> torch.Tensor:
    """u (B, H, W) of zeros and ones: z above the threshold midway between the means on its two sides."""
    threshold = z.mean((1, 2))
    for _ in range(20):
        u = (z > threshold[:, None, None]).float()
        c1, c2 = means(u, z)
        threshold = (c1 + c2) / 2
    return u


def means(u: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """c1, c2 (B,): the mean of z weighted by u, and by 1 - u."""
    rest = TINY * z.mean((1, 2))
    c1, c2 = (((z * v).sum((1, 2)) + rest) / (v.sum((1, 2)) + TINY) for v in (u, 1 - u))
    return c1, c2


def differences(u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward differences (B, H, W) along rows and along columns, 0 at the far border."""
    return F.pad(u.diff(dim=1), (0, 0, 0, 1)), F.pad(u.diff(dim=2), (0, 1))


def energy(u: torch.Tensor, z: torch.Tensor, g: torch.Tensor, lam: float, epsilon: float) -> torch.Tensor:
    """E (B,)."""
    down, right = differences(u)
    squares = down.square() + right.square()
    # √(s² + ε²) - ε, written so that it does not cancel where u is flat
    variation = (g * squares / ((squares + epsilon**2).sqrt() + epsilon)).sum((1, 2))
    c1, c2 = (c[:, None, None] for c in means(u, z))
    return variation + lam * ((z - c1).square() * u + (z - c2).square() * (1 - u)).sum((1, 2))


def gradient(u: torch.Tensor, z: torch.Tensor, g: torch.Tensor, lam: float, epsilon: float) -> torch.Tensor:
    """∂E/∂u (B, H, W) = -div(g ∇u / |∇u|) + λ ((z - c1)² - (z - c2)²); the means, being optimal, add nothing."""
    down, right = differences(u)
    weight = g / (down.square() + right.square() + epsilon**2).sqrt()
    down, right = weight * down, weight * right
    divergence = down - F.pad(down, (0, 0, 1, -1)) + right - F.pad(right, (1, -1))
    c1, c2 = (c[:, None, None] for c in means(u, z))
    return lam * ((z - c1).square() - (z - c2).square()) - divergence


def converged(trace: list[torch.Tensor], tolerance: float) -> torch.Tensor:
    """(B,) bool: over the last WINDOW iterations the energy fell by no more than tolerance × itself."""
    if len(trace) <= WINDOW:
        return torch.zeros_like(trace[-1], dtype=torch.bool)
    return trace[-1 - WINDOW] - trace[-1] <= tolerance * trace[-1]


def chan_vese(
    z: torch.Tensor, lam: float, epsilon: float, edge: float, tolerance: float, max_iter: int
) -> tuple[torch.Tensor, torch.Tensor]:
    g = edge_weight(z, edge)
    u = two_means_start(z)
    # The curvature of E is at most 8/ε: eight times the largest weight of a link. Steps below 2 / that descend.
    steps = math.ceil(STEP / (epsilon / 5))
    trace = [energy(u, z, g, lam, epsilon)]
    running = torch.ones(len(z), dtype=torch.bool, device=z.device)
    for _ in range(max_iter):
        moved = u[running]
        for _ in range(steps):
            moved = (moved - STEP / steps * gradient(moved, z[running], g[running], lam, epsilon)).clamp(0, 1)
        u[running] = moved
        trace.append(energy(u, z, g, lam, epsilon))
        running &= ~converged(trace, tolerance)
        if not running.any():
            break
    return u, torch.stack(trace)
