"""The encoder's grid, its agreement with torchvision, and every way of loading weights."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torchvision.models import resnet18

from histolab_lite.data.stain import to_optical_density
from histolab_lite.models import Encoder, load_encoder
from histolab_lite.models.checkpoint import save_weights
from histolab_lite.models.encoder import DEFAULT_WEIGHTS, ColourEncoder, TimmEncoder

NARROW = 1 / 16


def patches(n: int = 3, size: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def randomised(width: float = NARROW, stride: int = 32, seed: int = 0) -> Encoder:
    """An encoder whose batch statistics are not the ones of a fresh network either."""
    torch.manual_seed(seed)
    encoder = Encoder(width, stride)
    for name, value in encoder.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return encoder.eval()


@pytest.fixture(scope="module")
def narrow() -> Encoder:
    return randomised()


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize(("width", "channels"), [(1 / 64, 8), (NARROW, 32), (0.25, 128)])
@pytest.mark.parametrize("size", [(64, 96), (65, 33), (1, 7)])
def test_shape_of_the_grid(width, channels, stride, size):
    encoder = Encoder(width, stride).eval()
    assert encoder.channels == channels
    with torch.inference_mode():
        out = encoder(torch.rand(2, 3, *size))
    assert out.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize(("options", "message"), [({"width": 0}, "width"), ({"output_stride": 4}, "output_stride")])
def test_impossible_shapes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Encoder(**options)


def test_at_width_1_and_stride_32_it_is_torchvisions_resnet18(tmp_path):
    torch.manual_seed(0)
    theirs = resnet18().eval()
    for name, value in theirs.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(std=0.1)
    path = save_weights(theirs, tmp_path / "theirs.safetensors")
    ours, theirs = load_encoder(path).double(), theirs.double()
    x = torch.rand(2, 3, 70, 64, dtype=torch.float64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = (x - mean[:, None, None]) / std[:, None, None]
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            expected = getattr(theirs, name)(expected)
        torch.testing.assert_close(ours(x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("stride", [8, 16])
def test_a_finer_stride_keeps_the_weights_and_agrees_where_the_grids_meet(narrow, stride):
    """Dilation instead of a stride: e.g. every 4th location of the stride-8 grid is the stride-32 grid."""
    fine = Encoder(NARROW, stride).eval()
    assert fine.state_dict().keys() == narrow.state_dict().keys()
    fine.load_state_dict(narrow.state_dict())
    x = torch.rand(1, 3, 160, 256)
    step = 32 // stride
    with torch.inference_mode():
        torch.testing.assert_close(fine(x)[..., ::step, ::step], narrow(x), atol=1e-5, rtol=1e-4)


def test_embedding_is_the_mean_over_the_grid_whatever_the_batches(narrow):
    rgb = patches(5, 70)
    with torch.inference_mode():
        expected = narrow(torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255).mean((2, 3))
    for batch_size in (1, 2, 256):
        torch.testing.assert_close(narrow.embed(rgb, batch_size), expected, atol=1e-5, rtol=1e-4)
    assert narrow.embed(rgb[:0]).shape == (0, 32)


def test_encode_is_embeds_grid_and_leaves_training_mode(narrow):
    narrow.train()
    before = narrow.bn1.running_mean.clone()
    rgb = patches(1, 64)[0]
    features = narrow.encode(rgb)
    assert features.shape == (32, 2, 2)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.mean((1, 2)), narrow.embed(rgb[None])[0], atol=1e-5, rtol=1e-4)
    assert torch.equal(narrow.bn1.running_mean, before)


def test_a_flipped_view_of_an_image_is_read(narrow):
    rgb = patches(1, 64)[0]
    assert torch.equal(narrow.encode(rgb[:, ::-1]), narrow.encode(rgb[:, ::-1].copy()))
    assert torch.equal(narrow.embed(rgb[None, ::-1]), narrow.embed(rgb[None, ::-1].copy()))


@pytest.mark.parametrize(
    "rgb",
    [np.zeros((8, 8, 3)), *(np.zeros(shape, np.uint8) for shape in ((8, 8), (8, 8, 4), (0, 8, 3)))],
)
def test_what_is_no_rgb_image_is_refused(narrow, rgb):
    with pytest.raises(ValueError, match="expected an RGB image"):
        narrow.encode(rgb)
    with pytest.raises(ValueError, match="expected patches"):
        narrow.embed(rgb[None])


def test_colour_encoder_averages_optical_density():
    rgb = patches(1, 20)[0]
    features = ColourEncoder(8).encode(rgb)
    assert features.shape == (4, 3, 3)
    assert (features[3] == 1).all()
    density = to_optical_density(torch.from_numpy(rgb).float() / 255)
    torch.testing.assert_close(features[:3, 0, 1], density[:8, 8:16].mean((0, 1)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features[:3, 2, 2], density[16:, 16:].mean((0, 1)), atol=1e-5, rtol=1e-4)


# Loading


@pytest.mark.parametrize("kind", ["safetensors", "state_dict", "lightning", "simclr", "old torchvision"])
def test_published_layouts_of_a_file(narrow, tmp_path, kind):
    state = dict(narrow.state_dict())
    if kind == "safetensors":
        path = save_weights(narrow, tmp_path / "w.safetensors", {"output_stride": "32", "name": "toy"})
    else:
        path = tmp_path / "w.ckpt"
        head = {"fc.weight": torch.ones(2, 32), "fc.bias": torch.ones(2)}
        if kind == "lightning":  # Ciga et al. 2022
            nested = {f"model.resnet.{key}": value for key, value in (state | head).items()}
            torch.save({"epoch": 1, "state_dict": nested, "hyper": {"lr": 0.1}}, path)
        elif kind == "simclr":
            nested = {f"encoder.{key}": value for key, value in state.items()}
            torch.save(nested | {"head.0.weight": torch.ones(1)}, path)
        elif kind == "old torchvision":
            torch.save({k: v for k, v in (state | head).items() if not k.endswith("num_batches_tracked")}, path)
        else:
            torch.save(state, path)
    encoder = load_encoder(path)
    assert not encoder.training
    assert encoder.channels == 32
    assert encoder.name == ("toy" if kind == "safetensors" else "w")
    rgb = patches(2, 64)
    assert torch.equal(encoder.embed(rgb), narrow.embed(rgb))


def test_stride_is_the_saved_one_unless_asked_for(narrow, tmp_path):
    path = save_weights(narrow, tmp_path / "w.safetensors", {"output_stride": "16"})
    assert load_encoder(path).output_stride == 16
    assert load_encoder(path, output_stride=8).encode(patches(1, 64)[0]).shape == (32, 8, 8)


def test_keys_that_do_not_fit_are_listed(narrow, tmp_path):
    state = dict(narrow.state_dict())
    del state["layer1.0.conv1.weight"], state["bn1.bias"]
    state["layer5.0.conv1.weight"] = torch.ones(1)
    state["layer2.0.conv1.weight"] = torch.ones(1, 1, 3, 3)
    with pytest.raises(ValueError, match="do not fit Encoder") as error:
        load_encoder(save_weights(state, tmp_path / "w.safetensors"))
    message = str(error.value)
    assert "missing: ['bn1.bias', 'layer1.0.conv1.weight']" in message
    assert "unexpected: ['layer5.0.conv1.weight']" in message
    assert "wrong shape: ['layer2.0.conv1.weight (1, 1, 3, 3) instead of (8, 4, 3, 3)']" in message


def test_other_networks_and_missing_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no key conv1.weight"):
        load_encoder(save_weights({"blocks.0.weight": torch.ones(1)}, tmp_path / "vit.safetensors"))
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_encoder(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(ValueError, match="cut.safetensors is not a readable"):
        load_encoder(tmp_path / "cut.safetensors")


def test_the_default_encoder_ships_with_the_package():
    assert DEFAULT_WEIGHTS.stat().st_size <= 6e6
    with safe_open(DEFAULT_WEIGHTS, framework="pt") as file:
        types = {key: file.get_slice(key).get_dtype() for key in file.keys() if not key.endswith("tracked")}  # noqa: SIM118
    assert set(types.values()) == {"F16"}
    encoder = load_encoder()
    rgb = patches(1, 64)[0]
    features = encoder.encode(rgb)
    grid = 64 // encoder.output_stride
    assert features.shape == (encoder.channels, grid, grid)
    assert features.std() > 0
    assert torch.isfinite(features).all()
    assert torch.equal(features, load_encoder("default").encode(rgb))


# Encoders of timm


def save_tiny(architecture: str, folder) -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=4).eval()
    save_for_hf(model, folder, model_config={"num_classes": 4}, safe_serialization=True)
    return model


@pytest.mark.parametrize(("architecture", "size", "grid"), [("test_resnet", 64, (2, 2)), ("test_vit", 160, (10, 10))])
def test_timm_models_from_a_folder(tmp_path, architecture, size, grid):
    model = save_tiny(architecture, tmp_path)
    encoder = load_encoder(f"local-dir:{tmp_path}")
    assert isinstance(encoder, TimmEncoder)
    rgb = patches(2, size)
    features = encoder.encode(rgb[0])
    assert features.shape == (model.num_features, *grid)
    assert encoder.embed(rgb).shape == (2, model.num_features)
    data = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        raw = model.forward_features(((torch.from_numpy(rgb[:1]).permute(0, 3, 1, 2) / 255) - mean) / std)[0]
    if architecture == "test_vit":  # after the class token, tokens run along rows
        raw = raw[model.num_prefix_tokens :].T.reshape(-1, *grid)
    torch.testing.assert_close(features, raw, atol=1e-4, rtol=1e-4)


def test_a_timm_vit_takes_other_and_oblong_sizes(tmp_path):
    save_tiny("test_vit", tmp_path)
    rgb = patches(1, 160)[0]
    assert load_encoder(f"local-dir:{tmp_path}").encode(rgb[:64, :96]).shape[1:] == (4, 6)


def test_a_vit_without_flexible_size_by_its_config_still_takes_any(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=1, embed_dim=12, num_heads=1)
    arguments = {"img_size": 32, "depth": 1, "embed_dim": 12, "num_heads": 1}
    save_for_hf(model, tmp_path, model_args=arguments, safe_serialization=True)
    assert load_encoder(f"local-dir:{tmp_path}").encode(patches(1, 64)[0]).shape == (12, 4, 4)


def test_a_timm_model_that_is_not_finite_is_refused(tmp_path):
    save_tiny("test_resnet", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["conv1.0.weight"].view(-1)[3] = float("nan")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="NaN or infinite values in conv1"):
        load_encoder(f"local-dir:{tmp_path}")


def test_output_stride_is_not_timms(tmp_path):
    with pytest.raises(ValueError, match="output_stride applies to ResNet18 only"):
        load_encoder(f"local-dir:{tmp_path}", output_stride=8)


CLIENT = """
import sys
import numpy as np
from histolab_lite.models import load_encoder
encoder = load_encoder("hf-hub:lab/tiny")
np.save(sys.argv[1], encoder.encode(np.load(sys.argv[2])).numpy())
"""


def test_timm_models_from_a_hub(tmp_path):
    """The real download code, against a server of this test that answers as the Hugging Face hub does."""
    folder = tmp_path / "repository"
    save_tiny("test_vit", folder)
    asked = []

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, body: bool) -> None:
            asked.append((self.command, self.path))
            file = folder / self.path.rpartition("/")[2]
            found = self.path.startswith("/lab/tiny/resolve/main/") and file.is_file()
            content = file.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            if found:
                self.send_header("ETag", f'"{abs(hash(content)):040x}"')
                self.send_header("X-Repo-Commit", "c" * 40)
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def log_message(self, *arguments: object) -> None:
            pass

    np.save(tmp_path / "rgb.npy", patches(1, 96)[0])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    unset = ("HF_HUB_OFFLINE", "HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {key: value for key, value in os.environ.items() if key.upper() not in unset}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    try:
        arguments = [str(tmp_path / "out.npy"), str(tmp_path / "rgb.npy")]
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, *arguments], env=environment, capture_output=True, text=True, timeout=120
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert ("GET", "/lab/tiny/resolve/main/model.safetensors") in asked
    expected = load_encoder(f"local-dir:{folder}").encode(np.load(tmp_path / "rgb.npy"))
    assert json.loads((folder / "config.json").read_text())["architecture"] == "test_vit"
    assert expected.shape[1:] == (6, 6)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected.numpy())
