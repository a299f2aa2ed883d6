"""Additive operator splitting on a GPU: the iteration of cpu.py in four launches; the host waits for no answer.

In a sweep every program takes a block of systems, side by side in memory, and walks along them. To sweep rows like
columns, u and the weights are kept twice, as they are (direction 0) and transposed (direction 1). A step writes into
the other of two slots, beside the u from which it starts: to take the step flips the map's slot, to undo it does not.

B maps of H rows and W columns, P = H·W pixels, T tiles per map.
"""

import torch
import triton
import triton.language as tl

from histolab_lite.kernels.chan_vese.reference import STEP, TINY, WINDOW, edge_weight, two_means_start

OMEGA = 1.6
LANES = 32  # systems per program: one per thread, in a single warp
TILE = 32


@triton.jit
def sweep_kernel(
    u,  # (2, 2, B, P) by slot and direction
    w,  # (2, 2, B, P)
    s,  # (2, B, P) by direction; updated
    upper,  # (2, B, P) scratch
    v,  # (2, B, P) scratch
    slot,  # (B,)
    fresh,  # (B,) 1 where s starts from u
    active,  # (B,)
    tau,  # (B,)
    batch,
    height,
    width,
    OMEGA: tl.constexpr,
    LANES: tl.constexpr,
):
    """Add ω (v - u) to s, where (1 + τ L) v = 2u - s: Thomas' algorithm, along columns (direction 0) and rows (1)."""
    direction = tl.program_id(0) // batch
    b = tl.program_id(0) % batch
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    length = height + direction * (width - height)  # of a system
    count = width + direction * (height - width)  # of systems, and from one link to the next
    inside = lane < count
    if tl.load(active + b) != 0:
        here = (direction * batch + b).to(tl.int64) * height * width
        current = ((tl.load(slot + b) * 2 + direction) * batch + b).to(tl.int64) * height * width
        step = tl.load(tau + b)
        restart = tl.load(fresh + b) != 0
        before = tl.zeros((LANES,), tl.float32)
        upper_before = tl.zeros((LANES,), tl.float32)
        v_before = tl.zeros((LANES,), tl.float32)
        for i in tl.range(0, length, num_stages=4):
            at = i * count + lane
            own = tl.load(u + current + at, mask=inside, other=0.0)
            memory = tl.load(s + here + at, mask=inside, other=0.0)
            # The last one has no link onwards.
            link = tl.where(i + 1 < length, step * tl.load(w + current + at, mask=inside, other=0.0), 0.0)
            scale = 1.0 / (1.0 + before * (1.0 - upper_before) + link)
            upper_before = link * scale
            v_before = (2.0 * own - tl.where(restart, own, memory) + before * v_before) * scale
            before = link
            tl.store(upper + here + at, upper_before, mask=inside)
            tl.store(v + here + at, v_before, mask=inside)
        tl.debug_barrier()  # upper and v are read again
        v_after = tl.zeros((LANES,), tl.float32)
        for k in tl.range(0, length, num_stages=4):
            at = (length - 1 - k) * count + lane
            own = tl.load(u + current + at, mask=inside, other=0.0)
            memory = tl.load(s + here + at, mask=inside, other=0.0)
            v_after = tl.load(v + here + at, mask=inside, other=0.0) + v_after * tl.load(
                upper + here + at, mask=inside, other=0.0
            )
            tl.store(s + here + at, tl.where(restart, own, memory) + OMEGA * (v_after - own), mask=inside)


@triton.jit
def join_kernel(
    u,  # (2, 2, B, P); the other slot is written
    s,  # (2, B, P)
    z,  # (B, P)
    slot,  # (B,)
    active,  # (B,)
    tau,  # (B,)
    c,  # (2, B) the two means
    lam,
    batch,
    height,
    width,
    TILE: tl.constexpr,
):
    """Write u = clamp(½ (s_0 + s_1) - ½ τ λ ((z - c1)² - (z - c2)²), 0, 1), as it is and transposed."""
    b = tl.program_id(0)
    i = tl.program_id(1) * TILE + tl.arange(0, TILE)[:, None]
    j = tl.program_id(2) * TILE + tl.arange(0, TILE)[None, :]
    inside = (i < height) & (j < width)
    at, turned = i * width + j, j * height + i
    if tl.load(active + b) != 0:
        first = b.to(tl.int64) * height * width
        second = (batch + b).to(tl.int64) * height * width
        c1, c2 = tl.load(c + b), tl.load(c + batch + b)
        force = lam * (c2 - c1) * (2.0 * tl.load(z + first + at, mask=inside, other=0.0) - c1 - c2)
        both = tl.load(s + first + at, mask=inside, other=0.0) + tl.load(s + second + turned, mask=inside, other=0.0)
        new = 0.5 * (both - tl.load(tau + b) * force)
        new = tl.minimum(tl.maximum(new, 0.0), 1.0)
        row = (1 - tl.load(slot + b)) * 2 * batch + b
        other = row.to(tl.int64) * height * width
        other_turned = (row + batch).to(tl.int64) * height * width
        tl.store(u + other + at, new, mask=inside)
        tl.store(u + other_turned + turned, new, mask=inside)


@triton.jit
def weigh_kernel(
    u,  # (2, 2, B, P)
    w,  # (2, 2, B, P); the other slot is written
    z,  # (B, P)
    g,  # (B, P)
    sums,  # (3, B, T) variation, Σ u, Σ z u of each tile; written
    slot,  # (B,)
    active,  # (B,)
    epsilon,
    batch,
    height,
    width,
    TILE: tl.constexpr,
):
    """Write the weights g / |∇u| of the new u, and its sums."""
    b = tl.program_id(0)
    i = tl.program_id(1) * TILE + tl.arange(0, TILE)[:, None]
    j = tl.program_id(2) * TILE + tl.arange(0, TILE)[None, :]
    inside = (i < height) & (j < width)
    at, turned = i * width + j, j * height + i
    if tl.load(active + b) != 0:
        first = b.to(tl.int64) * height * width
        row = (1 - tl.load(slot + b)) * 2 * batch + b
        other = row.to(tl.int64) * height * width
        other_turned = (row + batch).to(tl.int64) * height * width
        own = tl.load(u + other + at, mask=inside, other=0.0)
        below, right = inside & (i + 1 < height), inside & (j + 1 < width)
        down = tl.where(below, tl.load(u + other + at + width, mask=below, other=0.0) - own, 0.0)
        across = tl.where(right, tl.load(u + other + at + 1, mask=right, other=0.0) - own, 0.0)
        edge = tl.load(g + first + at, mask=inside, other=0.0)
        squares = down * down + across * across
        root = tl.sqrt(squares + epsilon * epsilon)
        weight = edge / root
        tl.store(w + other + at, weight, mask=inside)
        tl.store(w + other_turned + turned, weight, mask=inside)
        tiles = tl.num_programs(1) * tl.num_programs(2)
        tile = tl.program_id(1) * tl.num_programs(2) + tl.program_id(2)
        bright = tl.load(z + first + at, mask=inside, other=0.0)
        tl.store(sums + b * tiles + tile, tl.sum(tl.sum(edge * squares / (root + epsilon), 1), 0))
        tl.store(sums + (batch + b) * tiles + tile, tl.sum(tl.sum(own, 1), 0))
        tl.store(sums + (2 * batch + b) * tiles + tile, tl.sum(tl.sum(own * bright, 1), 0))


@triton.jit(do_not_specialize=["n"])
def judge_kernel(
    sums,  # (3, B, T)
    totals,  # (2, B) float64: Σ z, Σ z²
    trace,  # (max_iter + 2, B) float64: +inf, then the energies; row n + 1 is written
    slot,  # (B,)
    fresh,  # (B,)
    active,  # (B,)
    tau,  # (B,)
    c,  # (2, B)
    last,  # (B,) the n at which the map stopped; written
    n,
    lam,
    tolerance,
    batch,
    tiles,
    pixels,
    TINY: tl.constexpr,
    WINDOW: tl.constexpr,
    TILES: tl.constexpr,  # tiles, rounded up to a power of two
):
    """Take the step if the energy did not rise, else halve τ and start s afresh; stop the map if it has converged."""
    b = tl.program_id(0)
    before = tl.load(trace + n * batch + b)
    if tl.load(active + b) == 0:
        tl.store(trace + (n + 1) * batch + b, before)
    else:
        tile = tl.arange(0, TILES)
        variation = tl.sum(tl.load(sums + b * tiles + tile, mask=tile < tiles, other=0.0).to(tl.float64), 0)
        area = tl.sum(tl.load(sums + (batch + b) * tiles + tile, mask=tile < tiles, other=0.0).to(tl.float64), 0)
        weighted = tl.sum(
            tl.load(sums + (2 * batch + b) * tiles + tile, mask=tile < tiles, other=0.0).to(tl.float64), 0
        )
        total, squares = tl.load(totals + b), tl.load(totals + batch + b)
        rest = TINY * total / pixels
        c1 = (weighted + rest) / (area + TINY)
        c2 = (total - weighted + rest) / (pixels - area + TINY)
        data = squares - 2.0 * c1 * weighted + c1 * c1 * area
        data += c2 * (c2 * (pixels - area) - 2.0 * (total - weighted))
        energy = variation + lam * tl.maximum(data, 0.0)
        taken = energy <= before
        energy = tl.where(taken, energy, before)
        tl.store(trace + (n + 1) * batch + b, energy)
        tl.store(fresh + b, tl.where(taken, 0, 1))
        if taken:
            tl.store(slot + b, 1 - tl.load(slot + b))
            tl.store(c + b, c1.to(tl.float32))
            tl.store(c + batch + b, c2.to(tl.float32))
        else:
            tl.store(tau + b, 0.5 * tl.load(tau + b))
        if n >= WINDOW:
            fall = tl.load(trace + (n + 1 - WINDOW) * batch + b) - energy
            if fall <= tolerance * energy:
                tl.store(active + b, 0)
                tl.store(last + b, n)


def chan_vese(
    z: torch.Tensor, lam: float, epsilon: float, edge: float, tolerance: float, max_iter: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """As in reference.py, by additive operator splitting."""
    batch, height, width = z.shape
    g, start = edge_weight(z, edge).contiguous(), two_means_start(z)
    u = z.new_empty(2, 2, batch, height * width)
    w, (s, upper, v) = torch.empty_like(u), z.new_empty(3, 2, batch, height * width)
    u[0, 0], u[0, 1] = start.flatten(1), start.transpose(1, 2).flatten(1)
    slot = torch.ones(batch, dtype=torch.int32, device=z.device)  # the start is judged like a step, from slot 1 to 0
    fresh, active, last = torch.ones_like(slot), torch.ones_like(slot), torch.full_like(slot, max_iter)
    tau, c = z.new_full((batch,), STEP), z.new_zeros(2, batch)
    totals = torch.stack([z.double().sum((1, 2)), z.double().square().sum((1, 2))])
    trace = torch.full((max_iter + 2, batch), float("inf"), dtype=torch.float64, device=z.device)
    grid = (batch, triton.cdiv(height, TILE), triton.cdiv(width, TILE))
    tiles = grid[1] * grid[2]
    sums = z.new_empty(3, batch, tiles)
    systems = (2 * batch, triton.cdiv(max(height, width), LANES))

    def judge(n: int) -> None:
        weigh_kernel[grid](u, w, z, g, sums, slot, active, epsilon, batch, height, width, TILE=TILE)
        judge_kernel[(batch,)](
            sums, totals, trace, slot, fresh, active, tau, c, last, n, lam, tolerance, batch, tiles, height * width,
            TINY=TINY, WINDOW=WINDOW, TILES=triton.next_power_of_2(tiles),
        )  # fmt: skip

    with torch.cuda.device(z.device) if z.is_cuda else torch.no_grad():
        judge(0)
        fresh.fill_(1)
        for n in range(1, max_iter + 1):
            sweep_kernel[systems](
                u, w, s, upper, v, slot, fresh, active, tau, batch, height, width, OMEGA=OMEGA, LANES=LANES, num_warps=1
            )
            join_kernel[grid](u, s, z, slot, active, tau, c, lam, batch, height, width, TILE=TILE)
            judge(n)
            # The host waits for this answer of the device; so it asks rarely.
            if n % WINDOW == 0 and not active.any():
                break
    current = u[slot.long(), 0, torch.arange(batch, device=z.device)]
    return current.view(batch, height, width), trace[1 : int(last.max()) + 2].float()
