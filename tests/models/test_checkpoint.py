"""Weights come back as written, half-written files never appear, and no file runs code."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from histolab_lite.models.checkpoint import load_state, read_weights, save_weights
from histolab_lite.models.encoder import DEFAULT_WEIGHTS
from tests.flips import flipped


class Payload:
    """Pickles to a call: reading it with a plain unpickler creates the file it names."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def assert_alike(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key in one:
        assert one[key].dtype == other[key].dtype
        assert torch.equal(one[key], other[key])


def test_safetensors_round_trip_with_metadata(tmp_path):
    tensors = {"a": torch.randn(3, 4), "steps": torch.tensor([7]), "turned": torch.randn(4, 3).T}
    path = save_weights(tensors, tmp_path / "new" / "folder" / "w.safetensors", {"name": "toy", "output_stride": "16"})
    state, metadata = read_weights(path)
    assert_alike(state, tensors)
    assert metadata == {"name": "toy", "output_stride": "16"}


def test_only_floats_are_stored_in_the_smaller_type(tmp_path):
    state, metadata = read_weights(save_weights(nn.BatchNorm1d(3), tmp_path / "w.safetensors", dtype=torch.float16))
    assert state["weight"].dtype == torch.float16
    assert state["num_batches_tracked"].dtype == torch.int64
    assert metadata == {}


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path, fill_disk):
    path = save_weights({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    fill_disk()
    with pytest.raises(OSError, match="disk is full"):
        save_weights({"a": torch.zeros(2)}, path)
    assert read_weights(path)[0]["a"].tolist() == [1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
def test_torch_checkpoints_nested_or_not(tmp_path, key):
    state = {"a": torch.randn(2)}
    torch.save({"epoch": 3, key: state} if key else state, tmp_path / "w.pt")
    read, metadata = read_weights(tmp_path / "w.pt")
    assert_alike(read, state)
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
    write = torch.save if name.endswith(".pt") else save_weights
    write({"a": torch.ones(50)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=name):
        read_weights(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_flipped_bit_changes_no_weight_and_is_mostly_noticed(tmp_path, name):
    """A bit may flip without harm in the digest's name and in those parts of torch's archive that hold no tensors."""
    path, state = tmp_path / name, {"a": torch.randn(300), "b": torch.arange(100)}
    if name.endswith(".pt"):
        torch.save(state, path)
    else:
        save_weights(state, path, {"name": "toy"})
    content, (_, metadata) = path.read_bytes(), read_weights(path)
    refused = []
    for bit, damaged in flipped(content):
        path.write_bytes(damaged)
        try:
            read, stated = read_weights(path)
        except ValueError:
            refused.append(bit)
        else:
            assert_alike(read, state)
            assert stated.get("name") == metadata.get("name")
            assert name.endswith(".pt") or b"histolab_lite_sha256" not in damaged
    assert len(refused) > 100


def test_safetensors_of_others_hold_no_digest(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors", {"format": "pt"})
    state, metadata = read_weights(tmp_path / "w.safetensors")
    assert state["a"].tolist() == [1, 1]
    assert metadata == {"format": "pt"}


def test_the_weights_that_ship_are_compared_with_their_digest(tmp_path):
    files = sorted(DEFAULT_WEIGHTS.parent.glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / file.name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{file.name} is damaged"):
            read_weights(tmp_path / file.name)


def test_missing_files_and_files_without_a_state(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        read_weights(tmp_path / "none.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no state_dict but a list"):
        read_weights(tmp_path / "list.pt")


def test_every_key_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="from a.pt do not fit Linear") as error:
        load_state(nn.Linear(4, 2), {"weight": torch.ones(2, 3), "extra": torch.ones(1)}, "a.pt")
    for part in ("missing: ['bias']", "unexpected: ['extra']", "wrong shape: ['weight (2, 3) instead of (2, 4)']"):
        assert part in str(error.value)


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
    load_state(norm, state | {"0.num_batches_tracked": torch.tensor(3, dtype=torch.int32)}, "new")
    assert norm[0].num_batches_tracked == 3
    del state["0.running_var"]
    with pytest.raises(ValueError, match=r"missing: \['0.running_var'\]"):
        load_state(norm, state, "broken")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weight": torch.tensor([1.0, float("nan")])}, "NaN or infinite values in weight"),
        ({"weight": torch.tensor([1.0, float("-inf")])}, "NaN or infinite values in weight"),
        ({"weight": torch.tensor([1.0, 1e300], dtype=torch.float64)}, "NaN or infinite values in weight"),  # no float32
        ({"weight": torch.tensor([1, 2])}, "weight holds whole numbers, not floating ones, in w.pt"),
        ({"weight": torch.tensor([True, False])}, "weight holds whole numbers"),
        ({"weight": torch.tensor([1.0, 2.0], dtype=torch.complex64)}, "weight holds complex numbers"),
        ({"num_batches_tracked": torch.tensor(3.0)}, "num_batches_tracked holds floating numbers, not whole ones"),
    ],
)
def test_numbers_of_another_kind_are_refused(wrong, message):
    norm = nn.BatchNorm1d(2)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_state(norm, before | wrong, "w.pt")
    assert_alike(norm.state_dict(), before)
