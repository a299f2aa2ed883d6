"""The classification gate: a tissue that the classifier does not see is no answer of the segmentation (eq. 14, 15).

The authors' code zeroes logits instead of probabilities, which lets a closed class win where all others are negative.
"""

import torch
from torch import nn

from histolab_lite.methods.mlps.classification import Classifier, classify


def gate(probabilities: torch.Tensor, presence: torch.Tensor, epsilon: float = 0.1) -> torch.Tensor:
    """o_k, zeroed in every image where ŷ_k <= ε: (B, C, H, W), C >= K, and (B, K) -> (B, C, H, W).

    Classes beyond the classifier's K, such as glass, have no gate. Where all K are at most ε, of which the paper does
    not speak, the one of the highest ŷ stays open, as tissue is something.

    Raises ValueError for sizes that do not belong together, or an ε outside [0, 1).
    """
    b, k = presence.shape
    if probabilities.ndim != 4 or len(probabilities) != b or probabilities.shape[1] < k:
        raise ValueError(f"{(*presence.shape,)} gates do not fit probabilities {(*probabilities.shape,)}.")
    if not 0 <= epsilon < 1:
        raise ValueError(f"epsilon is a probability in [0, 1), not {epsilon}.")
    opened = presence > epsilon
    opened[torch.arange(b), presence.argmax(1)] = True
    beyond = opened.new_ones(b, probabilities.shape[1] - k)
    return probabilities * torch.cat([opened, beyond], 1).to(probabilities)[:, :, None, None]


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: torch.Tensor,
    classifier: Classifier | None = None,
    epsilon: float = 0.1,
    mu: float | None = None,
) -> torch.Tensor:
    """Class probabilities (B, C, H, W) float32 on the CPU of images (B, 3, H, W) in [0, 1].

    With a classifier they have passed its gates and need not sum to 1; mu is that of ``classify``. Their argmax over C
    is the segmentation (eq. 15); those of overlapping patches of a slide are averaged before it (Sect. III-B3,
    ``kernels.overlap_add``).
    """
    model.eval()
    probabilities = model(images.to(next(model.parameters()).device)).float().softmax(1).cpu()
    if classifier is None:
        return probabilities
    return gate(probabilities, classify(classifier, images, mu).cpu(), epsilon)
