"""The first team's post-processing of a large image, beside the same by filters of scikit-image and SciPy."""

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.segmentation import expand_labels

from benchmarks.harness import Case
from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad import fill_background, normal_rule

NORMAL, AROUND, SHARE = 2, 100, 0.3


def blobs(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes in blobs of some 100 pixels with glass between them; tissue with holes of 255 in it."""
    random = np.random.default_rng(0)
    coarse = random.standard_normal((4, side // 8, side // 8), dtype=np.float32)
    smooth = np.stack([gaussian_filter(layer, 8) for layer in coarse]).repeat(8, 1).repeat(8, 2)
    tissue = smooth[3] > smooth[3].mean() - 0.3 * smooth[3].std()
    found = smooth[:3].argmax(0).astype(np.uint8)
    found[~tissue | (random.random(found.shape, dtype=np.float32) < 0.03)] = IGNORE
    return found, tissue


def cases(side: int = 5000) -> list[Case]:
    found, tissue = blobs(side // 8 * 8)

    def ours() -> np.ndarray:
        return normal_rule(fill_background(found, tissue), normal=NORMAL, side=AROUND, share=SHARE)

    def filters() -> np.ndarray:
        grown = expand_labels(found + np.uint8(1), side).astype(np.uint8) - np.uint8(1)  # its background is 0
        filled = np.where((found == IGNORE) & tissue, grown, found)
        around = uniform_filter((filled == NORMAL).astype(np.float64), AROUND, mode="constant")
        inside = uniform_filter(np.ones(filled.shape), AROUND, mode="constant")
        return np.where((around > SHARE * inside) & (filled < NORMAL), np.uint8(NORMAL), filled)

    def check(ours: np.ndarray, peers: dict[str, np.ndarray]) -> str:
        different = max(float((ours != mask).mean()) for mask in peers.values())
        # Equally near classes, and shares of exactly 30 %, which floats miss.
        assert different < 1e-3, f"{different:.1e} of the pixels have another class"
        return f"{different:.1e} of the pixels differ"

    work = f"{side:,}² pixels: nearest class for false background, rule of 30 % in {AROUND}²"
    return [Case("post-processing", work, ours, {"scikit-image, SciPy": filters}, check=check, rounds=3)]
