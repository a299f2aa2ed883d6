"""Plain PyTorch: the specification. Builds the (2N, 2N) similarities."""

import torch
import torch.nn.functional as F


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """Take the cross-entropy of every view's similarities, with its positive as the class."""
    n = len(z1)
    with torch.autocast(z1.device.type, enabled=False):  # which would round the similarities to bfloat16
        z = F.normalize(torch.cat([z1, z2]).float(), dim=1)  # (2N, D)
        logits = z @ z.T / temperature  # (2N, 2N)
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), float("-inf"))
    positive = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, positive)
