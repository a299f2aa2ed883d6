"""Tissue by a threshold, and the exact masks that follow from it for patches with a single tag.

"White background by a simple threshold": Sect. III-D2. Masks of single-class patches: Zhu et al., Sect. IV-B2.
"""

import numpy as np
from skimage.morphology import remove_small_objects

from histolab_lite.data import IGNORE


def foreground(image: np.ndarray, white: float = 0.9, specks: int = 64) -> np.ndarray:
    """Find the tissue of an image by a threshold.

    Parameters
    ----------
    image
        uint8 (..., H, W, 3).
    white
        A pixel is white if its darkest channel has at least this share of full brightness; even pale stain darkens one.
    specks
        Largest area, in pixels, that joins what surrounds it: white areas in tissue first, then tissue in white. 0
        keeps all areas.

    Returns
    -------
    bool (..., H, W)
        True where there is tissue.

    Raises
    ------
    ValueError
        For an image of another shape or dtype, a share outside (0, 1], or a negative area.
    """
    image = np.asarray(image)
    if image.ndim < 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected images uint8 (..., H, W, 3); got {image.dtype} {image.shape}.")
    if not 0 < white <= 1 or specks < 0:
        raise ValueError(f"white is a share in (0, 1] and specks a number of pixels, not {white} and {specks}.")
    tissue = image.min(-1) < white * 255
    if specks:
        for mask in tissue.reshape(-1, *tissue.shape[-2:]):  # views of ``tissue``
            mask[:] = ~remove_small_objects(~mask, max_size=specks)
            mask[:] = remove_small_objects(mask, max_size=specks)
    return tissue


def single_class_masks(patches: np.ndarray, tags: np.ndarray, white: float = 0.9, specks: int = 64) -> np.ndarray:
    """Make the exact masks of patches with a single tag: all tissue has that class.

    Parameters
    ----------
    patches
        uint8 (N, H, W, 3).
    tags
        (N, K) of 0 and 1.
    white, specks
        As in `foreground`.

    Returns
    -------
    uint8 (N, H, W)
        Class ids, 255 where it is white.

    Raises
    ------
    ValueError
        If a patch does not have exactly one tag, or the shapes do not match.
    """
    patches, tags = np.asarray(patches), np.asarray(tags)
    if patches.ndim != 4 or tags.ndim != 2 or len(tags) != len(patches):
        raise ValueError(f"expected patches (N, H, W, 3) and tags (N, K); got {patches.shape} and {tags.shape}.")
    if not ((tags == 0) | (tags == 1)).all():
        raise ValueError("a tag is 0, the tissue is absent, or 1, it is present.")
    wrong = np.flatnonzero(tags.sum(1) != 1)
    if len(wrong):
        raise ValueError(f"patch {wrong[0]} has the tags {tags[wrong[0]].astype(int).tolist()}; exactly one is needed.")
    classes = tags.argmax(1).astype(np.uint8)
    return np.where(foreground(patches, white, specks), classes[:, None, None], np.uint8(IGNORE))
