"""What is offered, and what must not be."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.cvm import samples as module  # noqa: E402
from demos.serving import is_loopback  # noqa: E402
from histolab_lite.data.manifests import load_manifest  # noqa: E402


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    monkeypatch.setattr(module, "_phantoms", lambda: iter(()))


def test_without_data_sets_there_is_tissue_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("HISTOLAB_DATA", str(tmp_path))
    (image,) = module.samples(public=False).values()
    assert image.size == (512, 512)
    assert image.mpp is None
    assert "scikit-image" in image.caption


@pytest.mark.real_data
def test_research_only_tissue_is_not_shown_to_the_public(data_root):
    for name in module.TILES:
        if not load_manifest(name).is_available():
            pytest.skip(f"{name} is not under HISTOLAB_DATA")
    private, public = module.samples(public=False), module.samples(public=True)
    assert {key.split("-")[0] for key in private} == {"skimage", "ocdc", "glas"}
    assert {key.split("-")[0] for key in public} == {"skimage", "ocdc"}
    ocdc = next(image for key, image in public.items() if key.startswith("ocdc"))
    assert ocdc.mpp == 0.5
    assert "CC BY 4.0" in ocdc.caption
    assert "Freire" in ocdc.caption


def test_an_unknown_licence_is_a_closed_one(monkeypatch):
    closed = dataclasses.replace(load_manifest("ocdc"), redistribution=False)
    monkeypatch.setattr(module, "load_manifest", lambda name: closed)
    monkeypatch.setattr(type(closed), "is_available", lambda self: True)
    monkeypatch.setattr(module, "load_tiles", lambda manifest: pytest.fail("read although it is not to be shown"))
    assert list(module.samples(public=True)) == ["skimage-ihc"]


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("a.org", False)],
)
def test_which_hosts_only_this_machine_sees(host, alone):
    assert is_loopback(host) is alone


def test_phantoms_come_with_their_scale(monkeypatch):
    monkeypatch.undo()
    first, *others = module._phantoms()
    assert (first.title, first.mpp, first.size) == ("Phantom slide 1", 0.5, (768, 768))
    assert len(others) == module.PHANTOMS - 1
