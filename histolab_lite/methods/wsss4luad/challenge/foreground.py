"""Tissue by a threshold, and the exact masks that it makes of patches with one tag.

"White background by a simple threshold": Sect. III-D2. Masks of single-class patches: Zhu et al., Sect. IV-B2.
"""

import numpy as np
from skimage.morphology import remove_small_objects

from histolab_lite.data import IGNORE


def foreground(image: np.ndarray, white: float = 0.9, specks: int = 64) -> np.ndarray:
    """Where there is tissue: image uint8 (..., H, W, 3) -> bool (..., H, W).

    A pixel is white if even its darkest channel has this share of full brightness: stain, however pale, darkens one.
    specks: areas of at most so many pixels, white in tissue or coloured in white, join what surrounds them; 0 keeps
    them. ValueError for another kind of picture, a share outside (0, 1] or a negative area.
    """
    image = np.asarray(image)
    if image.ndim < 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected pictures uint8 (..., H, W, 3); got {image.dtype} {image.shape}.")
    if not 0 < white <= 1 or specks < 0:
        raise ValueError(f"white is a share in (0, 1] and specks a number of pixels, not {white} and {specks}.")
    tissue = image.min(-1) < white * 255
    if specks:
        for mask in tissue.reshape(-1, *tissue.shape[-2:]):  # views of ``tissue``
            mask[:] = ~remove_small_objects(~mask, max_size=specks)
            mask[:] = remove_small_objects(mask, max_size=specks)
    return tissue


def single_class_masks(patches: np.ndarray, tags: np.ndarray, white: float = 0.9, specks: int = 64) -> np.ndarray:
    """Pixel labels of patches with one tag: tissue is that class, white is 255. uint8 (N, H, W), nothing to be guessed.

    patches: uint8 (N, H, W, 3). tags: (N, K) of 0 and 1. white, specks: as in ``foreground``.
    ValueError for a patch that has not exactly one tag, or sizes that do not belong together.
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
