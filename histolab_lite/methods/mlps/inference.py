"""The classification gate: the segmentation cannot answer a tissue that the classifier does not see (eq. 14, 15).

The authors' code sets logits to 0 instead of probabilities. A closed class can then win where all others are negative.
"""

import torch
from torch import nn

from histolab_lite.methods.mlps.classification import Classifier, classify


def gate(probabilities: torch.Tensor, presence: torch.Tensor, epsilon: float = 0.1) -> torch.Tensor:
    """Set the probabilities of a class to 0 in every image where the classifier does not see it: ŷ_k <= ε.

    Where that holds for all classes, a case that the paper does not mention, the class of the highest ŷ stays open.

    Parameters
    ----------
    probabilities
        o, (B, C, H, W), C >= K. Classes beyond the classifier's K, such as glass, have no gate.
    presence
        ŷ, (B, K).
    epsilon
        ε, in [0, 1).

    Returns
    -------
    Tensor
        (B, C, H, W).

    Raises
    ------
    ValueError
        The sizes do not belong together, or ε is outside [0, 1).
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
    """Return class probabilities of images, gated if there is a classifier.

    Their argmax over C is the segmentation (eq. 15). Those of overlapping patches of a slide are averaged before it
    (Sect. III-B3, ``kernels.overlap_add``).

    Parameters
    ----------
    model
        A segmentation network.
    images
        (B, 3, H, W) in [0, 1].
    classifier
        The network whose gates the probabilities pass.
    epsilon
        As in `gate`.
    mu
        As in `classify`.

    Returns
    -------
    Tensor
        (B, C, H, W) float32 on the CPU. After the gates they need not sum to 1.
    """
    model.eval()
    probabilities = model(images.to(next(model.parameters()).device)).float().softmax(1).cpu()
    if classifier is None:
        return probabilities
    return gate(probabilities, classify(classifier, images, mu).cpu(), epsilon)
