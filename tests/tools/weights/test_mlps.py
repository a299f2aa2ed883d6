"""The training of the networks that ship for MLPS, in small."""

from histolab_lite.data import phantom
from histolab_lite.methods.mlps.pretrained import load_mlps
from tools.weights import mlps


def test_a_run_in_small_can_be_loaded(tmp_path, monkeypatch):
    slide = phantom.phantom_slide(3, 256, 1.0)
    tiles = type("Tiles", (), {"read": lambda self, mpp: ([slide.image], [slide.mask])})()
    monkeypatch.setattr(mlps, "load_tiles", lambda *name, **options: tiles)
    monkeypatch.setattr(mlps, "WIDTH", 2 / 64)
    monkeypatch.setattr(mlps, "ENCODER", "tu-tf_mobilenetv3_small_minimal_100")
    mlps.train(tmp_path / "w.safetensors", n_slides=1, patch=64, classifier_epochs=1, segmenter_epochs=1, seed=0)
    networks = load_mlps(str(tmp_path / "w.safetensors"))
    assert networks.segment(slide.image[None, :64, :64]).shape == (1, 64, 64)
