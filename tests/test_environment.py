"""What a run states about the computer that it ran on."""

import importlib.metadata

import torch

from histolab_lite.environment import device_name, environment


def test_the_computer_is_named(monkeypatch):
    stated = environment()
    assert stated["cpu_cores"] >= 1
    assert stated["device"] == device_name()
    assert stated["versions"]["histolab-lite"] == importlib.metadata.version("histolab-lite")
    for gpu, mps, name in ((True, False, "H200"), (False, True, "Apple GPU (MPS)"), (False, False, "CPU")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert device_name() == name
