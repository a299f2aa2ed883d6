"""The two networks of MLPS that ship with the package: both phases, learnt from tags of phantom slides alone.

Glass has no tag; it is found by its brightness. ``tools/weights/mlps.py`` trained them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from histolab_lite.data import phantom
from histolab_lite.data.batches import to_input
from histolab_lite.methods.mlps.activation import LAYERS
from histolab_lite.methods.mlps.classification import Classifier, classify
from histolab_lite.methods.mlps.inference import predict
from histolab_lite.methods.mlps.masks import pseudo_masks
from histolab_lite.methods.mlps.segmentation import DeepLab
from histolab_lite.models import encoder
from histolab_lite.models.checkpoint import load_state, read_weights

DEFAULT_WEIGHTS = Path(encoder.__file__).with_name("weights") / "default_mlps.safetensors"

TISSUES = phantom.CLASS_NAMES[1:]
#: What the segmentation tells apart: the tissues, then glass (the phantom's background), which has no tag.
CLASSES = (*TISSUES, phantom.CLASS_NAMES[0])
PALETTE = (*phantom.PALETTE[1:], phantom.PALETTE[0])
MPP = 1.0  # µm per pixel that the networks read
LEAST = 0.01  # share of a patch from which a tissue counts as there
WHITE = 0.9  # brightness from which a pixel is glass
_BATCH = 16  # patches at a time, at most


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of phase one and phase two, in evaluation mode, on the CPU."""

    classifier: Classifier
    segmenter: DeepLab

    def pseudo_masks(
        self, patches: np.ndarray, tags: np.ndarray, layers: Sequence[str] = LAYERS
    ) -> dict[str, np.ndarray]:
        """Make pseudo masks of tagged patches.

        Parameters
        ----------
        patches
            uint8 (N, H, W, 3).
        tags
            (N, 5) of 0 and 1; at least one tag per row.
        layers
            As in `activation_maps`.

        Returns
        -------
        dict
            {layer: uint8 (N, H, W) of ``CLASSES``}.
        """
        parts = zip(_batches(patches), np.array_split(tags, _n_batches(patches)), strict=True)
        found = [pseudo_masks(self.classifier, x, torch.from_numpy(y), layers, white=WHITE) for x, y in parts]
        return {layer: torch.cat([masks[layer] for masks in found]).numpy() for layer in layers}

    def presence(self, patches: np.ndarray) -> np.ndarray:
        """Return the classifier's probability of every tissue: uint8 (N, H, W, 3) -> float32 (N, 5)."""
        return torch.cat([classify(self.classifier, x) for x in _batches(patches)]).numpy()

    def segment(self, patches: np.ndarray, gated: bool = True) -> np.ndarray:
        """Segment patches without tags: uint8 (N, H, W, 3) -> uint8 (N, H, W) of ``CLASSES``.

        Parameters
        ----------
        gated
            Whether the classifier's gate is applied (eq. 15).
        """
        first = self.classifier if gated else None
        ids = [predict(self.segmenter, x, first).argmax(1).to(torch.uint8) for x in _batches(patches)]
        return torch.cat(ids).numpy()


def load_mlps(name: str = "default") -> Networks:
    """Load the networks that ship with the package ("default"), or those of a file of ``tools.weights.mlps``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file does not hold these networks, or its weights do not fit them.
    """
    path = DEFAULT_WEIGHTS if name == "default" else Path(name)
    state, about = read_weights(path)
    try:
        width, encoder, decoder = float(about["width"]), about["encoder"], int(about["decoder"])
    except (KeyError, ValueError):
        raise ValueError(f"{path.name} does not hold the networks of MLPS: it does not name them.") from None
    networks = Networks(Classifier(len(TISSUES), width), DeepLab(len(CLASSES), encoder, decoder))
    for part in ("classifier", "segmenter"):
        own = {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        load_state(getattr(networks, part).eval(), own, path.name)
    return networks


def to_classes(mask: np.ndarray) -> np.ndarray:
    """Renumber a phantom's mask by ``CLASSES``: the background is no longer the first class, but the last."""
    return ((mask.astype(np.int64) - 1) % len(CLASSES)).astype(np.uint8)


def _n_batches(patches: np.ndarray) -> int:
    return max(-(-len(patches) // _BATCH), 1)


def _batches(patches: np.ndarray) -> list[torch.Tensor]:
    """Batches (B, 3, H, W) in [0, 1] of about equal size."""
    return [to_input(part, torch.device("cpu")) for part in np.array_split(patches, _n_batches(patches))]
