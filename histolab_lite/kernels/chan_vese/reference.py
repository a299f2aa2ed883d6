"""Projected gradient descent with the explicit scheme, in plain PyTorch: the specification.

Shared with the fast solvers: the edge weight, the starting point, the stopping rule and the unit of time, STEP.
"""

import math

import torch
import torch.nn.functional as F

STEP = 0.6  # time per iteration: AOS covers it in one step, the explicit scheme in many
WINDOW = 20  # iterations over which the stopping rule measures the fall of the energy
TINY = 1e-6  # pixels; a phase without pixels gets the mean of the whole map


def edge_weight(z: torch.Tensor, edge: float) -> torch.Tensor:
    """Return g (B, H, W) = 1 / (1 + edge |∇z|²)."""
    p = F.pad(z[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down, right = (p[:, 2:, 1:-1] - p[:, :-2, 1:-1]) / 2, (p[:, 1:-1, 2:] - p[:, 1:-1, :-2]) / 2
    return 1 / (1 + edge * (down.square() + right.square()))


def two_means_start(z: torch.Tensor) -> torch.Tensor:
    """Return u (B, H, W) of zeros and ones: z above the threshold midway between the means on its two sides."""
    threshold = z.mean((1, 2))
    for _ in range(20):
        u = (z > threshold[:, None, None]).float()
        c1, c2 = means(u, z)
        threshold = (c1 + c2) / 2
    return u


def means(u: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return c1 and c2, (B,) each: the mean of z weighted by u, and by 1 - u."""
    rest = TINY * z.mean((1, 2))
    c1, c2 = (((z * v).sum((1, 2)) + rest) / (v.sum((1, 2)) + TINY) for v in (u, 1 - u))
    return c1, c2


def differences(u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the forward differences (B, H, W) to the next row and to the next column, 0 at the far border."""
    return F.pad(u.diff(dim=1), (0, 0, 0, 1)), F.pad(u.diff(dim=2), (0, 1))


def energy(u: torch.Tensor, z: torch.Tensor, g: torch.Tensor, lam: float, epsilon: float) -> torch.Tensor:
    """Return E (B,), as defined in the package."""
    down, right = differences(u)
    squares = down.square() + right.square()
    # √(s² + ε²) - ε, written so that it does not cancel where u is flat
    variation = (g * squares / ((squares + epsilon**2).sqrt() + epsilon)).sum((1, 2))
    c1, c2 = (c[:, None, None] for c in means(u, z))
    return variation + lam * ((z - c1).square() * u + (z - c2).square() * (1 - u)).sum((1, 2))


def gradient(u: torch.Tensor, z: torch.Tensor, g: torch.Tensor, lam: float, epsilon: float) -> torch.Tensor:
    """Return ∂E/∂u (B, H, W) = -div(g ∇u / |∇u|) + λ ((z - c1)² - (z - c2)²).

    The means are optimal, so that their derivatives add nothing.
    """
    down, right = differences(u)
    weight = g / (down.square() + right.square() + epsilon**2).sqrt()
    down, right = weight * down, weight * right
    divergence = down - F.pad(down, (0, 0, 1, -1)) + right - F.pad(right, (1, -1))
    c1, c2 = (c[:, None, None] for c in means(u, z))
    return lam * ((z - c1).square() - (z - c2).square()) - divergence


def converged(trace: list[torch.Tensor], tolerance: float) -> torch.Tensor:
    """Tell which maps are done, (B,) bool: the energy fell by at most tolerance × itself in WINDOW iterations."""
    if len(trace) <= WINDOW:
        return torch.zeros_like(trace[-1], dtype=torch.bool)
    return trace[-1 - WINDOW] - trace[-1] <= tolerance * trace[-1]


def chan_vese(
    z: torch.Tensor, lam: float, epsilon: float, edge: float, tolerance: float, max_iter: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimise E by projected gradient descent; returns u (B, H, W) and the energies (T + 1, B)."""
    g = edge_weight(z, edge)
    u = two_means_start(z)
    # The curvature of E is at most 8/ε: eight times the largest weight of a link. Steps below ε/4 lower the energy.
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
