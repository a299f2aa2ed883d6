"""One reader of all labels, so that only the labels differ: a linear classifier of the encoder's features, a cell each.

It learns in a second, on any mask with gaps, and its ceiling is what pixel masks of every picture make of it.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from histolab_lite.data import IGNORE
from histolab_lite.methods.labels.pictures import Picture

CELLS = 8000  # that are learnt from, at most


def learn(pictures: Sequence[Picture], masks: Sequence[np.ndarray], seed: int = 0) -> Pipeline | None:
    """A reader taught by masks, uint8 (H, W), 255 where nothing is known; None for fewer than two classes in them."""
    x = np.concatenate([p.grid.flatten(1).T.numpy() for p in pictures])
    y = np.concatenate([mask[np.ix_(*p.centres)].ravel() for p, mask in zip(pictures, masks, strict=True)])
    known = np.flatnonzero(y != IGNORE)
    chosen = np.random.default_rng(seed).permutation(known)[:CELLS]
    if len(np.unique(y[chosen])) < 2:
        return None
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(x[chosen], y[chosen])


def read(reader: Pipeline, picture: Picture) -> np.ndarray:
    """Class ids uint8 (H, W): the probabilities of the cells, brought to the picture's size, and the highest."""
    found = reader.predict_proba(picture.grid.flatten(1).T.numpy())
    maps = torch.from_numpy(found.T.reshape(1, -1, *picture.cells)).float()
    best = F.interpolate(maps, picture.mask.shape, mode="bilinear", align_corners=False)[0].argmax(0)
    return reader.classes_[best.numpy()].astype(np.uint8)
