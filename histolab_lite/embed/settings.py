"""What an embedding depends on: the patches, their scale, and the encoder, identified by its weights."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from histolab_lite.data.slides import Slide, SlideError
from histolab_lite.models.encoder import PatchEncoder


@dataclass(frozen=True)
class Settings:
    """How slides are cut and read.

    Parameters
    ----------
    mpp
        Micrometres per pixel of the patches.
    patch
        Side of a patch in pixels at `mpp`.
    overlap
        Share of its side that a patch shares with the next one, from 0 to below 1.
    min_tissue
        Least share of tissue in a patch; 0 keeps all patches.
    slide_mpp
        Micrometres per pixel at level 0, for slides whose files do not state it.
    batch_size
        Patches per batch. It changes speed and memory, and of the features at most the last bits.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    mpp: float = 0.5
    patch: int = 256
    overlap: float = 0.5
    min_tissue: float = 0.5
    slide_mpp: float | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name, scale in (("mpp", self.mpp), ("slide_mpp", self.slide_mpp)):
            if scale is not None and not (math.isfinite(scale) and scale > 0):
                raise ValueError(f"{name} is in micrometres per pixel and must be positive, not {scale}.")
        if min(self.patch, self.batch_size) < 1:
            raise ValueError(f"patch and batch_size must be 1 or more, not {self.patch} and {self.batch_size}.")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap is a share of the patch's side, from 0 to below 1, not {self.overlap}.")
        if not 0 <= self.min_tissue <= 1:
            raise ValueError(f"min_tissue is a share between 0 and 1, not {self.min_tissue}.")

    @property
    def stride(self) -> int:
        """Pixels at `mpp` from one patch to the next, 1 or more."""
        return max(1, round(self.patch * (1 - self.overlap)))

    def open(self, path: str | Path) -> Slide:
        """Open a slide at the scale that its file states, or else at `slide_mpp`. Raises as `Slide`."""
        try:
            return Slide(path)
        except SlideError as error:
            if self.slide_mpp is not None:
                return Slide(path, self.slide_mpp)  # a damaged file fails again, with its own message
            advice = f"Slide({Path(path).name!r}, mpp=...)"
            raise SlideError(str(error).replace(advice, "--slide-mpp, in µm per pixel")) from error


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is the GPU where there is one, else the CPU.

    Raises
    ------
    RuntimeError
        There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    torch.empty(1, device=device)
    return device


def encoder_revision(encoder: PatchEncoder) -> str:
    """Return twelve hexadecimal digits that change with the encoder's class, its grid and any of its weights."""
    digest = hashlib.sha256(f"{type(encoder).__name__} {getattr(encoder, 'output_stride', '')}".encode())
    tensors = [*encoder.named_parameters(), *encoder.named_buffers()]
    for name, tensor in sorted(tensors, key=lambda named: named[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
