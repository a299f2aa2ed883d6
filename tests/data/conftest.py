"""No test of this folder touches the real user cache."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("pooch.os_cache", lambda name: folder / name)
    return folder / "histolab-lite"
