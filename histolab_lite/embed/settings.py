"""What an embedding depends on: patches, their scale, and an encoder known by its weights rather than its name."""

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

    mpp : micrometres per pixel of the patches. patch : their side in pixels at that scale.
    overlap : share of its side that a patch has in common with the next, 0 to below 1.
    min_tissue : least share of tissue in a patch; 0 keeps them all.
    slide_mpp : micrometres per pixel at level 0, for slides whose files do not say.
    batch_size : patches encoded at a time. It changes speed and memory, and features in their last bits only.
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
            raise ValueError(f"patches are 1 px or more, 1 or more a batch, not {self.patch} and {self.batch_size}.")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap is a share of the patch's side, from 0 to below 1, not {self.overlap}.")
        if not 0 <= self.min_tissue <= 1:
            raise ValueError(f"min_tissue is a share between 0 and 1, not {self.min_tissue}.")

    @property
    def stride(self) -> int:
        """Pixels at `mpp` from a patch to the next, 1 or more."""
        return max(1, round(self.patch * (1 - self.overlap)))

    def open(self, path: str | Path) -> Slide:
        """Open a slide at the scale its file says, or else at `slide_mpp`. Raises as `Slide`."""
        try:
            return Slide(path)
        except SlideError as error:
            if self.slide_mpp is not None:
                return Slide(path, self.slide_mpp)  # a damaged file fails again, with its own message
            advice = f"Slide({Path(path).name!r}, mpp=...)"
            raise SlideError(str(error).replace(advice, "--slide-mpp, in µm per pixel")) from error


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" for a GPU where there is one. Raises RuntimeError for one that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    torch.empty(1, device=device)
    return device


def encoder_revision(encoder: PatchEncoder) -> str:
    """Twelve hexadecimal digits that change with the encoder's kind, its grid and any of its weights."""
    digest = hashlib.sha256(f"{type(encoder).__name__} {getattr(encoder, 'output_stride', '')}".encode())
    tensors = [*encoder.named_parameters(), *encoder.named_buffers()]
    for name, tensor in sorted(tensors, key=lambda named: named[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
