"""Manifests are valid, and the files they name are checked before use."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from histolab_lite.data import phantom
from histolab_lite.data.manifests import ManifestError, data_root, list_manifests, load_manifest
from tests.data.support import DIGEST, PAYLOAD, REQUIRED

# --- the manifests we ship


def test_every_data_set_has_its_manifest():
    slides = {"camelyon16", "cmu-1-small-region", "tcga-cr-7395"}
    tiles = {"bcss", "bcss-wsss", "digestpath", "glas", "luad-histoseg", "ocdc", "oscc", "phantom", "wsss4luad"}
    assert set(list_manifests()) == slides | tiles


@pytest.mark.parametrize("name", list_manifests())
def test_manifest_is_complete(name):
    manifest = load_manifest(name)
    assert manifest.name == name
    assert len(manifest.citation) > 20
    assert manifest.mpp is None or 0.1 < manifest.mpp < 2
    assert len(set(manifest.palette)) == len(manifest.palette)
    if manifest.access == "generated":
        return
    for url in (manifest.homepage, *manifest.sources):
        assert re.fullmatch(r"https://[^\s]+", url)
    assert manifest.files or manifest.counts
    if manifest.access == "download":
        assert all(file.url for file in manifest.files)
    # Every mask template of a data set with classes says what the mask's values mean.
    if any(tiles.masks for tiles in manifest.tiles.values()):
        assert manifest.mask_threshold is not None or manifest.mask_values
    listed = {file.path for file in manifest.files}
    for tiles in manifest.tiles.values():
        if not listed:
            assert tiles.images in manifest.counts
            continue
        images = [path for path in listed if Path(path).match(tiles.images)]
        assert images
        if tiles.masks:
            assert {tiles.masks.format(stem=Path(path).stem) for path in images} <= listed


def test_phantom_manifest_says_what_the_generator_does():
    manifest = load_manifest("phantom")
    assert (manifest.classes, manifest.palette) == (phantom.CLASS_NAMES, phantom.PALETTE)


@pytest.mark.parametrize(
    ("name", "stem", "group"),
    [
        ("bcss", "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500", "TCGA-A1-A0SK"),
        ("bcss-wsss", "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101]", "TCGA-A1-A0SK"),
        ("luad-histoseg", "1031280-2300-27920-[1 0 0 1]", "1031280"),
        ("ocdc", "1009009_r27c10", "1009009"),
    ],
)
def test_group_patterns(name, stem, group):
    (pattern, *_) = (tiles.group for tiles in load_manifest(name).tiles.values())
    assert re.match(pattern, stem)[1] == group


# --- validation


def write_manifest(folder: Path, **changes: object) -> Path:
    text = {key: value for key, value in (REQUIRED | changes).items() if value is not ...}
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": ...}, "missing key 'licence'"),
        ({"licence": ""}, "missing key 'licence'"),
        ({"license": "MIT"}, "unknown key 'license'"),
        ({"version": 1.0}, "version .*must be text"),
        ({"name": "other"}, "name is 'other', but the file is toy.yaml"),
        ({"access": "ftp"}, "access must"),
        ({"access": "manual"}, "missing key 'obtain'"),
        ({"redistribution": "no"}, "redistribution must"),
        ({"mpp": -1}, "mpp must"),
        ({"mpp": "20x"}, "mpp must"),
        ({"classes": ["a", "b"], "palette": [[0, 0, 0]]}, "1 colours for 2 classes"),
        ({"classes": ["a"], "palette": [[0, 0, 256]]}, "from 0 to 255"),
        ({"classes": ["a"], "palette": [[0, 0, 0]], "mask_values": {0: 3}}, "class ids"),
        ({"files": {"a": "abc"}}, "not a sha256"),
        ({"files": {"../a": DIGEST}}, "inside the data folder"),
        ({"files": {"/etc/a": DIGEST}}, "inside the data folder"),
        ({"files": {"C:a": DIGEST}}, "inside the data folder"),
        ({"files": {"b\\\\a": DIGEST}}, "inside the data folder"),
        ({"files": {"a": {"sha256": DIGEST, "md5": "x"}}}, "'md5' in files a"),
        ({"files": [DIGEST]}, "files must be a mapping"),
        ({"sources": {"a": "b"}}, "sources must be a list"),
        ({"tiles": {"train": {"images": "../*.png"}}}, "inside the data folder"),
        ({"tiles": {"train": {"masks": "a"}}}, "'images' in tiles train"),
        ({"tiles": {"train": {"images": "a", "group_csv": "b"}}}, "go together"),
        ({"archives": [{"url": "https://x/a.zip", "sha256": DIGEST}]}, "missing key 'into'"),
    ],
)
def test_bad_manifest_names_file_and_key(tmp_path, changes, message):
    path = write_manifest(tmp_path, **changes)
    with pytest.raises(ManifestError, match=rf"toy\.yaml: .*{message}"):
        load_manifest(path)


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("- a", "mapping"), ("", "mapping")])
def test_text_that_is_no_manifest(tmp_path, text, message):
    (tmp_path / "toy.yaml").write_text(text)
    with pytest.raises(ManifestError, match=message):
        load_manifest(tmp_path / "toy.yaml")


def test_data_root_is_the_variable_or_the_cache(monkeypatch, user_cache):
    monkeypatch.setenv("HISTOLAB_DATA", "/somewhere")
    assert data_root() == Path("/somewhere")
    monkeypatch.delenv("HISTOLAB_DATA")
    assert data_root() == user_cache


# --- a manifest's files


def test_changed_file_is_noticed_and_kept(tmp_path):
    manifest = load_manifest(write_manifest(tmp_path, files={"data.bin": DIGEST}))
    path = tmp_path / "data.bin"
    path.write_bytes(PAYLOAD)
    assert manifest.fetch(tmp_path) == tmp_path
    path.write_bytes(PAYLOAD[:-1] + b"?")
    os.utime(path, ns=(1, 1))  # a clock may be too coarse to tell the two writes apart
    assert not manifest.is_available(tmp_path)
    with pytest.raises(ManifestError, match=r"data\.bin is not the file that toy\.yaml describes"):
        manifest.fetch(tmp_path)
    assert path.exists()


def test_verify_only_says_where_to_get_it_and_where_to_put_it(tmp_path):
    files, counts = {"toy/a.png": DIGEST}, {"toy/masks/*.png": 2}
    path = write_manifest(tmp_path, access="manual", obtain="Ask example.org.", files=files, counts=counts)
    manifest = load_manifest(path)
    with pytest.raises(FileNotFoundError) as error:
        manifest.fetch(tmp_path)
    for part in ("Toy set", "Ask example.org.", str(tmp_path), "toy/a.png", "HISTOLAB_DATA", "CC0"):
        assert part in str(error.value)
    (tmp_path / "toy/masks").mkdir(parents=True)
    (tmp_path / "toy/a.png").write_bytes(PAYLOAD)
    (tmp_path / "toy/masks/1.png").touch()
    with pytest.raises(FileNotFoundError, match=r"masks/\*\.png \(1 of 2 files\)"):
        manifest.fetch(tmp_path)
    (tmp_path / "toy/masks/2.png").touch()
    assert manifest.is_available(tmp_path)


def test_a_single_file_is_asked_for_by_path(tmp_path):
    with pytest.raises(ManifestError, match="2 files"):
        load_manifest(write_manifest(tmp_path, files={"a": DIGEST, "b": DIGEST})).path(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["glas", "ocdc", "oscc", "cmu-1-small-region", "tcga-cr-7395"])
def test_real_files_are_the_real_ones(data_root, name):
    assert load_manifest(name).fetch(data_root, download=False) == data_root
