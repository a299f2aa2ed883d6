"""Dropout attention: features weighed by class activation maps whose strongest regions are switched off.

Han et al., "Multi-layer pseudo-supervision for histopathology tissue semantic segmentation using patch-level
classification labels", Medical Image Analysis 2022, eq. 4 and 7 to 10.
"""

import torch

from histolab_lite.kernels import check_finite, choose_backend

BACKENDS = ("reference", "cpu", "triton")


def dropout_attention(
    features: torch.Tensor, class_weights: torch.Tensor, mu: float, backend: str | None = None
) -> torch.Tensor:
    """Return A·m, where m are the features and A is the mean of the activation maps that dropout leaves.

    ::

        M_k = ReLU(Σ_c ω_kc m_c),    M̂_k = M_k where M_k <= μ max(M_k), else 0,    A = 1/K Σ_k M̂_k

    The maximum is taken over one image. The ReLU is not in the paper's equations but in its authors' code; without it
    a class that is active nowhere has a negative maximum and loses its whole map.

    The result is differentiable in features and weights, once ("reference": twice): through m and through the values
    that are left in A, as in the authors' code. Which values are left is a comparison and has no gradient.

    Parameters
    ----------
    features
        m (B, C, H, W) float.
    class_weights
        ω (K, C) float, the weights of the classifier of K classes.
    mu
        μ in [0, 1]. The paper starts at 1, where nothing is switched off, and lowers it to 0.65.
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Returns
    -------
    A·m : (B, C, H, W)
        In the dtype of the features; sums and maps are float32, with or without autocast.

    Raises
    ------
    ValueError
        For wrong shapes, empty maps, mu outside [0, 1], NaN, or a backend that is not there.
    """
    if features.ndim != 4 or class_weights.ndim != 2 or features.shape[1] != class_weights.shape[1]:
        raise ValueError(
            "features (B, C, H, W) and class_weights (K, C) must share C; "
            f"got {(*features.shape,)} and {(*class_weights.shape,)}."
        )
    if 0 in (*features.shape[1:], *class_weights.shape):
        raise ValueError(
            f"there is nothing to attend to: features {(*features.shape,)}, class_weights {(*class_weights.shape,)}."
        )
    if not (features.is_floating_point() and class_weights.is_floating_point()):
        raise ValueError(f"both must be floating point; got {features.dtype} and {class_weights.dtype}.")
    if not 0 <= mu <= 1:
        raise ValueError(f"mu must lie in [0, 1], not {mu}.")
    check_finite("features", features)
    check_finite("class_weights", class_weights)
    implementation = choose_backend(__name__, BACKENDS, backend, features.device)
    return implementation.dropout_attention(features, class_weights, mu)
