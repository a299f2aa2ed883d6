"""Prepare embeddings for clustering: few directions of equal weight, averaged with the neighbours on the slide.

The paper clusters raw embeddings. There k-means follows the few directions that vary most, whatever they show. Whitened
principal components of one slide, scaled to length 1, give all directions the same weight; for image features see
Jégou and Chum, "Negative evidences and co-occurences in image retrieval: the benefit of PCA and whitening", ECCV 2012.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix, diags_array
from scipy.spatial import cKDTree


def prepare(
    embeddings: torch.Tensor | np.ndarray,
    coords: torch.Tensor | np.ndarray | None = None,
    components: int = 12,
    smoothing: float = 0.5,
) -> torch.Tensor:
    """Prepare the embeddings of one slide for clustering, the slow half.

    Parameters
    ----------
    embeddings
        (N, D) float.
    coords
        (N, 2), the places of the patches in any unit, (x, y) or (row, col). If given, each patch is averaged with its
        neighbours: see `smooth`.
    components
        Number of principal components to keep, each scaled to variance 1. Directions without variance are left out.
    smoothing
        Weight of the neighbours in [0, 1].

    Returns
    -------
    float32 (N, R), R ≤ components
        Rows of length 1.

    Raises
    ------
    ValueError
        For embeddings that are not finite or all have the same direction, or options out of their range.
    """
    x = F.normalize(check_embeddings(embeddings), dim=1)
    if components < 1:
        raise ValueError(f"expected at least one component, not {components}.")
    if not torch.isfinite(x.sum()):
        raise ValueError("embeddings hold NaN or infinite values.")
    if coords is not None:
        x = smooth(x, coords, smoothing)
    x = x - x.mean(0)
    variances, directions = torch.linalg.eigh(x.T.double() @ x.double() / len(x))  # ascending
    used = variances > 1e-9 + 1e-6 * variances[-1]
    if not used.any():
        raise ValueError("all embeddings have the same direction: nothing distinguishes the patches.")
    scaled = (directions[:, used] / variances[used].sqrt())[:, -components:]  # (D, R)
    return F.normalize(x @ scaled.float(), dim=1)


def check_embeddings(embeddings: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Convert embeddings to float32 (N, D); ValueError for another shape or integers."""
    x = torch.as_tensor(embeddings)
    if x.ndim != 2 or 0 in x.shape or not x.is_floating_point():
        raise ValueError(f"embeddings must be floats (N, D), one row per patch; got {x.dtype} {(*x.shape,)}.")
    return x.float()


def smooth(
    embeddings: torch.Tensor, coords: torch.Tensor | np.ndarray, smoothing: float = 0.5, reach: float = 1.5
) -> torch.Tensor:
    """Average patches with their neighbours: (1 − smoothing) · patch + smoothing · mean of its neighbours.

    A patch without neighbours stays as it is.

    Parameters
    ----------
    embeddings
        (N, D).
    coords
        (N, 2), the places of the patches.
    smoothing
        Weight of the neighbours in [0, 1].
    reach
        Neighbours lie within `reach` times the pitch, which is the median distance to the nearest patch. 1.5 takes the
        eight neighbours on a grid.

    Returns
    -------
    (N, D)

    Raises
    ------
    ValueError
        For coordinates that do not match or are not finite, most patches at the same place, or a weight out of its
        range.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is a share from 0 to 1, not {smoothing}.")
    places = np.asarray(coords, dtype=float)
    if places.shape != (len(embeddings), 2) or not np.isfinite(places).all():
        raise ValueError(f"coords must be finite, one pair per patch, ({len(embeddings)}, 2); got {places.shape}.")
    if len(places) < 2:
        return embeddings.clone()
    tree = cKDTree(places)
    pitch = float(np.median(tree.query(places, 2)[0][:, 1]))
    if pitch == 0:
        raise ValueError("most patches have the same coordinates as another: was a slide read twice?")
    i, j = tree.query_pairs(reach * pitch, output_type="ndarray").T
    n = len(places)
    links = coo_matrix((np.ones(2 * len(i), np.float32), (np.r_[i, j], np.r_[j, i])), shape=(n, n)).tocsr()
    around = np.asarray(links.sum(1)).ravel()
    mean_of = diags_array(1 / np.maximum(around, 1), dtype=np.float32) @ links
    means = torch.from_numpy(mean_of @ embeddings.cpu().numpy())
    share = torch.from_numpy(np.where(around > 0, smoothing, 0).astype(np.float32))[:, None].to(embeddings.device)
    return torch.lerp(embeddings, means.to(embeddings), share)
