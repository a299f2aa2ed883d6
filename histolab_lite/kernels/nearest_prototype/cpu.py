"""CPU: one matrix product per block of rows that stays in the cache, so that (N, K) never reaches memory."""

import torch
import torch.nn.functional as F

ROWS = 4096  # per block: 8 MB at D = 512
IMAGE = 256  # rows per image of the convolution in `products`


def products(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply x (N, D) @ weights (K, D).T -> (N, K), for few weights.

    It is a 1×1 convolution over images of 256 rows: for so narrow a product, oneDNN's kernel for convolutions is two to
    three times as fast as the general matrix product.
    """
    n, d = x.shape
    whole = n - n % IMAGE if x.dtype == torch.float32 and torch.backends.mkldnn.is_available() else 0
    if not whole or not x.is_contiguous():
        return x @ weights.T
    images = x[:whole].view(-1, IMAGE, 1, d).permute(0, 3, 1, 2)  # (N / 256, D, 256, 1), channels last
    out = F.conv2d(images, weights[:, :, None, None]).permute(0, 2, 3, 1).reshape(whole, -1)
    return out if whole == n else torch.cat([out, x[whole:] @ weights.T])


def nearest_prototype(x: torch.Tensor, prototypes: torch.Tensor, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """As in reference.py, in blocks of rows."""
    wide = torch.promote_types(torch.promote_types(x.dtype, prototypes.dtype), torch.float32)
    prototypes = prototypes.to(wide)
    index, score = x.new_empty(len(x), dtype=torch.int64), x.new_empty(len(x))
    if metric == "cosine":
        weights, bias = F.normalize(prototypes, dim=1), None
    else:
        # argmin |x - p|² = argmax x·(p - c) - (|p|² - |c|²) / 2 for any c; the mean makes the products small.
        center = prototypes.mean(0)
        weights = prototypes - center
        bias = -(weights * (prototypes + center)).sum(1) / 2  # (K,)
    difference = prototypes.new_empty(min(ROWS, len(x)), x.shape[1])
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        block = x[rows].to(wide)
        likeness = products(block, weights)  # (ROWS, K)
        best, nearest = (likeness if bias is None else likeness.add_(bias)).max(1)
        if metric == "cosine":
            best = (best / torch.linalg.vector_norm(block, dim=1).clamp(min=1e-12)).clamp(-1, 1)
        else:
            apart = torch.index_select(prototypes, 0, nearest, out=difference[: len(block)]).sub_(block)
            best = torch.linalg.vector_norm(apart, dim=1)
        index[rows], score[rows] = nearest, best
    return index, score
