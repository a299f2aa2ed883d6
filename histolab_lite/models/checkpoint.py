"""Weights on disk: our own safetensors, other people's torch checkpoints; written completely or not at all.

No code from a file is run: safetensors holds only tensors, and torch files are read with weights_only=True.

A safetensors file written here holds its own sha256 in its metadata: the digest of the file with 64 zeros in its place.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from histolab_lite.files import write_atomically

# Where published checkpoints nest a network, e.g. Ciga et al. 2022 (SimCLR on 57 histopathology sets).
PREFIXES = ("model.resnet.", "encoder.", "backbone.", "module.", "trunk.", "resnet.", "model.")
_KEY, _UNKNOWN = "histolab_lite_sha256", "0" * 64


def save_weights(
    tensors: nn.Module | Mapping[str, torch.Tensor],
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write weights as safetensors, atomically, with a digest in the metadata; return the path.

    Parameters
    ----------
    tensors
        A module, or named tensors.
    path
        The file to write; missing folders are made.
    metadata
        Text to store with the weights.
    dtype
        Type of the stored floating-point tensors; None for their own.

    Raises
    ------
    OSError
        If the file cannot be written; an older one stays.
    """
    state = tensors.state_dict() if isinstance(tensors, nn.Module) else tensors
    state = {
        name: value.detach().cpu().to(dtype if dtype and value.is_floating_point() else value.dtype).contiguous()
        for name, value in state.items()
    }
    content = save(state, {**(metadata or {}), _KEY: _UNKNOWN})
    return write_atomically(path, _stated(content, _UNKNOWN, hashlib.sha256(content).hexdigest()))


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read tensors and metadata of a .safetensors file, or the tensors of a torch checkpoint (weights only).

    Damage is found by the sha256 in our own safetensors and by the checksums in torch's files; other people's
    safetensors have no checksum.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds no weights, or would need to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}.")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                metadata = dict(file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path.name} is not a readable safetensors file ({error}).") from error
        stated = metadata.pop(_KEY, None)
        if stated is not None and stated != hashlib.sha256(_stated(path.read_bytes(), stated, _UNKNOWN)).hexdigest():
            raise ValueError(f"{path.name} is damaged: it is not as it was written. Copy it again from its source.")
        return tensors, metadata
    try:
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything from EOFError to UnpicklingError here
        raise ValueError(
            f"{path.name} is damaged or holds more than tensors; save its state_dict alone, or as safetensors."
        ) from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name} holds no state_dict but a {type(content).__name__}.")
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}, {}


def _stated(content: bytes, now: str, then: str) -> bytes:
    """Replace the digest that a file states by another one."""
    return content.replace(f'"{_KEY}":"{now}"'.encode(), f'"{_KEY}":"{then}"'.encode(), 1)


def load_state(module: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load ``state`` into ``module``, every key exactly once.

    Only BatchNorm's batch counters may be missing: checkpoints from before PyTorch 0.4.1 have none. Floats may have
    another precision than the module's.

    Parameters
    ----------
    module, state
        The network and its weights by key.
    source
        Where the weights come from, for the messages.

    Raises
    ------
    ValueError
        Lists the keys that are missing, unexpected or of a wrong shape, those with another kind of number, or those
        that are not finite. The module then stays as it was.
    """
    own = module.state_dict()
    missing = sorted(key for key in own.keys() - state.keys() if not key.endswith(".num_batches_tracked"))
    unexpected = sorted(state.keys() - own.keys())
    misshapen = [
        f"{key} {(*state[key].shape,)} instead of {(*own[key].shape,)}"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    if missing or unexpected or misshapen:
        raise ValueError(
            f"the weights from {source} do not fit {type(module).__name__}.\n"
            f"missing: {missing or 'none'}\nunexpected: {unexpected or 'none'}\nwrong shape: {misshapen or 'none'}"
        )
    for key, value in state.items():
        if _kind(value) != _kind(own[key]):
            raise ValueError(f"{key} holds {_kind(value)} numbers, not {_kind(own[key])} ones, in {source}.")
    converted = {key: value.to(own[key].dtype) for key, value in state.items()}
    check_finite(converted, source)
    module.load_state_dict(own | converted)


def unnest(state: Mapping[str, torch.Tensor], first_key: str, heads: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Undo the nesting of a published checkpoint, found by the network's first key, and leave out its heads."""
    prefix = next((prefix for prefix in PREFIXES if f"{prefix}{first_key}" in state), "")
    inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return {key: value for key, value in inner.items() if not key.startswith(heads)}


def check_finite(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise ValueError with the names of the tensors that hold NaN or infinite values."""
    bad = sorted(key for key, value in state.items() if not value.isfinite().all())
    if bad:
        raise ValueError(f"the weights from {source} hold NaN or infinite values in {', '.join(bad[:5])}.")


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_floating_point():
        return "floating"
    return "complex" if tensor.is_complex() else "whole"
