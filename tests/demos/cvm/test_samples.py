"""Which images are offered, and which must not be."""

import dataclasses

import pytest

from demos.cvm import samples as module
from histolab_lite.data.manifests import load_manifest


def test_without_data_sets_there_is_tissue_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("HISTOLAB_DATA", str(tmp_path))
    stained, first, *others = module.samples(public=False).values()
    assert (stained.size, stained.mpp) == ((512, 512), None)
    assert "scikit-image" in stained.caption
    assert (first.title, first.mpp, first.size) == ("Phantom slide 1", 0.5, (768, 768))
    assert len(others) == module.PHANTOMS - 1


@pytest.mark.real_data
def test_research_only_tissue_is_not_shown_to_the_public(data_root):
    for name in module.TILES:
        if not load_manifest(name).is_available():
            pytest.skip(f"{name} is not under HISTOLAB_DATA")
    private, public = ({image.key.split("-")[0]: image for image in module._real(public)} for public in (False, True))
    assert private.keys() == {"ocdc", "glas"}
    assert public.keys() == {"ocdc"}
    assert public["ocdc"].mpp == 0.5
    assert "CC BY 4.0" in public["ocdc"].caption
    assert "Freire" in public["ocdc"].caption


def test_an_unknown_licence_is_a_closed_one(monkeypatch):
    closed = dataclasses.replace(load_manifest("ocdc"), redistribution=False)
    monkeypatch.setattr(module, "load_manifest", lambda name: closed)
    monkeypatch.setattr(type(closed), "is_available", lambda self: True)
    monkeypatch.setattr(module, "load_tiles", lambda manifest: pytest.fail("read although it is not to be shown"))
    assert list(module._real(public=True)) == []
