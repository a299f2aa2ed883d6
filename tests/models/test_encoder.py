"""The encoder's grid, its agreement with torchvision, and every way of loading weights."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torchvision.models import resnet18

from histolab_lite.data.stain import to_optical_density
from histolab_lite.models import Encoder, load_encoder
from histolab_lite.models.checkpoint import save_weights
from histolab_lite.models.encoder import DEFAULT_WEIGHTS, ColourEncoder, TimmEncoder, default_encoder

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
@pytest.mark.parametrize(("width", "channels"), [(1 / 64, 8), (NARROW, 32)])
@pytest.mark.parametrize("size", [(65, 33), (1, 7)])
def test_shape_of_the_grid(width, channels, stride, size):
    encoder = Encoder(width, stride).eval()
    assert encoder.channels == channels
    with torch.inference_mode():
        out = encoder(torch.rand(2, 3, *size))
    assert out.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


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


def test_encode_gives_the_grid_that_embed_averages_in_evaluation_mode(narrow):
    narrow.train()
    before = narrow.bn1.running_mean.clone()
    rgb = patches(1, 64)[0][:, ::-1]
    features = narrow.encode(rgb)
    assert features.shape == (32, 2, 2)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.mean((1, 2)), narrow.train().embed(rgb[None])[0], atol=1e-5, rtol=1e-4)
    assert torch.equal(features, narrow.encode(rgb.copy()))
    assert torch.equal(narrow.bn1.running_mean, before)


@pytest.mark.parametrize(
    "rgb",
    [np.zeros((8, 8, 3)), *(np.zeros(shape, np.uint8) for shape in ((8, 8), (8, 8, 4), (0, 8, 3)))],
)
def test_other_arrays_than_rgb_images_are_refused(narrow, rgb):
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


def under(prefix: str, state: dict) -> dict:
    return {f"{prefix}{key}": value for key, value in state.items()}


HEAD = {"fc.weight": torch.ones(2, 32), "fc.bias": torch.ones(2)}
LAYOUTS = {
    "state_dict": lambda state: state,
    "Lightning, Ciga et al. 2022": lambda state: {"epoch": 1, "state_dict": under("model.resnet.", state | HEAD)},
    "SimCLR": lambda state: under("encoder.", state) | {"head.0.weight": torch.ones(1)},
    "old torchvision": lambda state: {k: v for k, v in (state | HEAD).items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts_of_a_file(narrow, tmp_path, layout):
    torch.save(LAYOUTS[layout](dict(narrow.state_dict())), tmp_path / "w.ckpt")
    encoder = load_encoder(tmp_path / "w.ckpt")
    assert not encoder.training
    assert encoder.channels == 32
    assert encoder.name == "w"
    rgb = patches(2, 64)
    assert torch.equal(encoder.embed(rgb), narrow.embed(rgb))


def test_name_and_stride_are_the_saved_ones_unless_asked_for(narrow, tmp_path):
    path = save_weights(narrow, tmp_path / "w.safetensors", {"output_stride": "16", "name": "toy"})
    assert load_encoder(path).output_stride == 16
    assert load_encoder(path).name == "toy"
    assert load_encoder(path, output_stride=8).encode(patches(1, 64)[0]).shape == (32, 8, 8)


def test_weights_that_do_not_fit_are_refused(narrow, tmp_path):
    state = dict(narrow.state_dict()) | {"layer5.0.conv1.weight": torch.ones(1)}
    with pytest.raises(ValueError, match=r"unexpected: \['layer5.0.conv1.weight'\]"):
        load_encoder(save_weights(state, tmp_path / "w.safetensors"))
    with pytest.raises(ValueError, match="no key conv1.weight"):
        load_encoder(save_weights({"blocks.0.weight": torch.ones(1)}, tmp_path / "vit.safetensors"))
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_encoder(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="output_stride applies to ResNet18 only"):
        load_encoder(f"local-dir:{tmp_path}", output_stride=8)


def test_the_default_encoder_ships_with_the_package():
    assert DEFAULT_WEIGHTS.stat().st_size <= 6e6
    assert {value.dtype for value in load_file(DEFAULT_WEIGHTS).values()} <= {torch.float16, torch.int64}
    encoder = load_encoder()
    rgb = patches(1, 64)[0]
    features = encoder.encode(rgb)
    grid = 64 // encoder.output_stride
    assert features.shape == (encoder.channels, grid, grid)
    assert features.std() > 0
    assert torch.isfinite(features).all()
    assert torch.equal(features, default_encoder().encode(rgb))


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
    """Also one whose config knows no other size than 32."""
    torch.manual_seed(0)
    arguments = {"img_size": 32, "depth": 1, "embed_dim": 12, "num_heads": 1}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **arguments)
    save_for_hf(model, tmp_path, model_args=arguments, safe_serialization=True)
    rgb = patches(1, 160)[0]
    assert load_encoder(f"local-dir:{tmp_path}").encode(rgb[:64, :96]).shape == (12, 4, 6)


def test_a_timm_model_that_is_not_finite_is_refused(tmp_path):
    save_tiny("test_resnet", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["conv1.0.weight"].view(-1)[3] = float("nan")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="NaN or infinite values in conv1"):
        load_encoder(f"local-dir:{tmp_path}")


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

        def do_GET(self) -> None:
            asked.append((self.command, self.path))
            file = folder / self.path.rpartition("/")[2]
            found = self.path.startswith("/lab/tiny/resolve/main/") and file.is_file()
            content = file.read_bytes() if found else b""
            headers = {"X-Error-Code": "EntryNotFound"}
            if found:
                headers = {"ETag": f'"{abs(hash(content)):040x}"', "X-Repo-Commit": "c" * 40}
            self.send_response(200 if found else 404)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    np.save(tmp_path / "rgb.npy", patches(1, 96)[0])
    unset = ("HF_HUB_OFFLINE", "HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {key: value for key, value in os.environ.items() if key.upper() not in unset}
    environment |= {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        command = [sys.executable, "-c", CLIENT, str(tmp_path / "out.npy"), str(tmp_path / "rgb.npy")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert ("GET", "/lab/tiny/resolve/main/model.safetensors") in asked
    expected = load_encoder(f"local-dir:{folder}").encode(np.load(tmp_path / "rgb.npy"))
    assert expected.shape[1:] == (6, 6)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected.numpy())
