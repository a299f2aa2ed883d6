"""Weights come back as written, half-written files never appear, and no file runs code."""

import pickle

import pytest
import torch
from torch import nn

from histolab_lite.models import checkpoint
from histolab_lite.models.checkpoint import load_state, read_weights, save_weights, write_atomically


class Payload:
    """Pickles to a call: reading it with a plain unpickler creates the file it names."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def test_safetensors_round_trip_with_metadata(tmp_path):
    tensors = {"a": torch.randn(3, 4), "steps": torch.tensor([7]), "turned": torch.randn(4, 3).T}
    path = save_weights(tensors, tmp_path / "new" / "folder" / "w.safetensors", {"name": "toy", "output_stride": "16"})
    state, metadata = read_weights(path)
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[key], tensors[key]) for key in tensors)
    assert metadata == {"name": "toy", "output_stride": "16"}


def test_only_floats_are_stored_in_the_smaller_type(tmp_path):
    path = save_weights(nn.BatchNorm1d(3), tmp_path / "w.safetensors", dtype=torch.float16)
    state, metadata = read_weights(path)
    assert state["weight"].dtype == torch.float16
    assert state["num_batches_tracked"].dtype == torch.int64
    assert metadata == {}


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = save_weights({"a": torch.ones(2)}, tmp_path / "w.safetensors")

    def disk_full(state, target, metadata):
        target.write_bytes(b"half a fi")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", disk_full)
    with pytest.raises(OSError, match="no space left"):
        save_weights({"a": torch.zeros(2)}, path)
    assert read_weights(path)[0]["a"].tolist() == [1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_temporary_file_lies_in_the_same_folder(tmp_path):
    """Only then is the move into place one step of the file system."""
    seen = []

    def write(temporary):
        seen.append(temporary)
        assert not (tmp_path / "file.bin").exists()
        temporary.write_bytes(b"whole")

    write_atomically(tmp_path / "file.bin", write)
    assert seen[0].parent == tmp_path
    assert (tmp_path / "file.bin").read_bytes() == b"whole"
    assert (tmp_path / "file.bin").stat().st_mode & 0o044 == 0o044  # others may read it


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
def test_torch_checkpoints_nested_or_not(tmp_path, key):
    state = {"a": torch.randn(2)}
    torch.save({"epoch": 3, key: state} if key else state, tmp_path / "w.pt")
    read, metadata = read_weights(tmp_path / "w.pt")
    assert read.keys() == {"a"}
    assert torch.equal(read["a"], state["a"])
    assert metadata == {}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path, suffix):
    trace = tmp_path / "ran"
    torch.save({"a": torch.ones(1), "hook": Payload(str(trace))}, tmp_path / f"w{suffix}")
    (tmp_path / f"plain{suffix}").write_bytes(pickle.dumps(Payload(str(trace))))
    for name in ("w", "plain"):
        with pytest.raises(ValueError, match="holds more than tensors"):
            read_weights(tmp_path / f"{name}{suffix}")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("kept", [0, 5, 60])
def test_truncated_files_are_refused(tmp_path, name, kept):
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save({"a": torch.ones(50)}, path)
    else:
        save_weights({"a": torch.ones(50)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=name):
        read_weights(path)


def test_missing_files_and_things_that_are_no_state(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        read_weights(tmp_path / "none.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no state_dict but a list"):
        read_weights(tmp_path / "list.pt")


def test_every_key_that_does_not_fit_is_named():
    state = {"weight": torch.ones(2, 3), "extra": torch.ones(1)}
    with pytest.raises(ValueError, match="from a.pt do not fit Linear") as error:
        load_state(nn.Linear(4, 2), state, "a.pt")
    message = str(error.value)
    assert "missing: ['bias']" in message
    assert "unexpected: ['extra']" in message
    assert "wrong shape: ['weight (2, 3) instead of (2, 4)']" in message


def test_loading_converts_to_the_modules_type():
    layer = nn.Linear(2, 1)
    load_state(layer, {"weight": torch.tensor([[1.5, -2.0]]).half(), "bias": torch.zeros(1).half()}, "half")
    assert layer.weight.dtype == torch.float32
    assert layer.weight.tolist() == [[1.5, -2.0]]


def test_batch_counters_alone_may_be_missing():
    """torchvision's own ResNet weights are older than these counters."""
    norm = nn.Sequential(nn.BatchNorm1d(2))
    state = {key: value + 1 for key, value in norm.state_dict().items() if "num_batches" not in key}
    load_state(norm, state, "old")
    assert norm[0].running_mean.tolist() == [1, 1]
    del state["0.running_var"]
    with pytest.raises(ValueError, match="missing: \\['0.running_var'\\]"):
        load_state(norm, state, "broken")
