"""One linear probe for all labels, so that only the labels differ: a linear classifier of the features of each cell.

It is trained in a second, on any mask with gaps. Its ceiling is the score with pixel masks of every image.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from histolab_lite.data import IGNORE
from histolab_lite.methods.labels.images import EncodedImage

CELLS = 8000  # the probe is trained on at most so many cells


def fit_linear_probe(images: Sequence[EncodedImage], masks: Sequence[np.ndarray], seed: int = 0) -> Pipeline | None:
    """Train a linear probe on masks.

    Parameters
    ----------
    images
        With their features.
    masks
        Per image uint8 (H, W) of class ids, 255 where nothing is known.
    seed
        Random seed of the choice of cells.

    Returns
    -------
    Pipeline or None
        None if the masks hold fewer than two classes.
    """
    x = np.concatenate([image.grid.flatten(1).T.numpy() for image in images])
    y = np.concatenate([mask[np.ix_(*image.centres)].ravel() for image, mask in zip(images, masks, strict=True)])
    known = np.flatnonzero(y != IGNORE)
    chosen = np.random.default_rng(seed).permutation(known)[:CELLS]
    if len(np.unique(y[chosen])) < 2:
        return None
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(x[chosen], y[chosen])


def predict(probe: Pipeline, image: EncodedImage) -> np.ndarray:
    """Predict the class ids of an image, uint8 (H, W), from the cells' probabilities, interpolated to its pixels."""
    found = probe.predict_proba(image.grid.flatten(1).T.numpy())
    maps = torch.from_numpy(found.T.reshape(1, -1, *image.cells)).float()
    best = F.interpolate(maps, image.mask.shape, mode="bilinear", align_corners=False)[0].argmax(0)
    return probe.classes_[best.numpy()].astype(np.uint8)
