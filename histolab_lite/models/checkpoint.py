"""Weights on disk: safetensors to share, torch checkpoints to resume; written whole or not at all.

Nothing here runs code from a file: safetensors holds only tensors, and torch files are read with weights_only=True.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn


def write_atomically(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then move it into place in one step."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)  # mkstemp's files are for their owner alone
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def save_weights(
    tensors: nn.Module | Mapping[str, torch.Tensor],
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a module's state (or named tensors) as safetensors; floats are stored as ``dtype`` if given."""
    state = tensors.state_dict() if isinstance(tensors, nn.Module) else tensors
    state = {
        name: value.detach().cpu().to(dtype if dtype and value.is_floating_point() else value.dtype).contiguous()
        for name, value in state.items()
    }
    return write_atomically(path, lambda temporary: save_file(state, temporary, dict(metadata or {})))


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a .safetensors file, or the tensors of a torch checkpoint (weights only).

    Raises FileNotFoundError, or ValueError for a file that is damaged or would need code to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}.")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path.name} is not a readable safetensors file ({error}).") from error
    try:
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


def load_state(module: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load ``state`` into ``module``, every key exactly once.

    Only BatchNorm's batch counters may be missing: checkpoints from before PyTorch 0.4.1 have none.
    Raises ValueError listing the missing, unexpected and wrongly shaped keys.
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
    module.load_state_dict(own | {key: value.to(own[key].dtype) for key, value in state.items()})
