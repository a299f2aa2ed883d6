"""A stopped run continues where it was, and ends with the mask of a run that was not stopped."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from histolab_lite.formats.ome_tiff import read_labels
from histolab_lite.methods.whole_slide.bands import BandFolder
from tests.methods.whole_slide.examples import Counting, glass_and_tissue, write_slide

TILES = 10 * 8  # of 64 pixels, every 32, the last at the border, on 331 × 257


@pytest.fixture
def run(run):
    run.keywords["min_tissue"] = 0
    return run


@pytest.fixture
def stopped(run, tmp_path) -> Path:
    """The folder of a run that stopped after half of its tiles."""
    with pytest.raises(RuntimeError, match="stopped"):
        run(predict=Counting(40), model="first")
    return tmp_path / "mask.ome.tif.work"


@pytest.mark.parametrize(("memory", "step"), [(1 << 29, 1), (0, 3)])
def test_a_run_continues_between_any_two_bands(run, tmp_path, monkeypatch, memory, step):
    """Also where the bands of the second run do not begin at the rows where those of the first one end."""
    whole, calls = Counting(), []
    options = {"tile": 100, "overlap": 0.3, "memory": memory}
    expected = read_labels(run(predict=whole, **options)).ids
    write, left = BandFolder.write, 0

    def full(self, strip, row, ids):
        nonlocal left
        if left == 0:
            raise OSError("no space left")
        left -= 1
        write(self, strip, row, ids)

    for kept in range(0, 100, step):
        with monkeypatch.context() as patch:
            patch.setattr(BandFolder, "write", full)
            left = kept
            try:
                run(**options)
            except OSError:
                pass
            else:
                break
        rest = Counting()
        np.testing.assert_array_equal(read_labels(run(predict=rest, **options)).ids, expected)
        calls.append(rest.calls)
    assert len(calls) >= 5
    assert calls == sorted(calls, reverse=True)
    assert calls[0] == whole.calls > calls[-1]  # what was finished is not computed again
    assert [path.name for path in tmp_path.iterdir()] == ["mask.ome.tif"]


def test_finished_bands_need_no_prediction(run, monkeypatch):
    """Stopped while the mask was written: all bands are there."""
    with monkeypatch.context() as patch:
        patch.setattr("histolab_lite.methods.whole_slide.inference.write_labels", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    ids = read_labels(run(predict=Counting(0))).ids
    np.testing.assert_array_equal(ids, read_labels(run()).ids)


@pytest.mark.slow
def test_a_run_continues_after_a_kill(run, slide_path, tmp_path):
    script = f"""
        import os, signal
        from histolab_lite.methods.whole_slide import segment_slide
        from tests.methods.whole_slide.examples import Counting

        class Mortal(Counting):
            def __call__(self, rgb):
                if self.calls == 39:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(rgb)

        out = {str(tmp_path / "mask.ome.tif")!r}
        segment_slide({str(slide_path)!r}, Mortal(), 3, out, mpp=0.5, tile=64, min_tissue=0, progress=None)
    """
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=root).returncode == -9
    rest = Counting()
    ids = read_labels(run(predict=rest)).ids
    assert rest.calls == TILES - 20  # three rows of tiles were finished, of which the last reaches on downwards
    np.testing.assert_array_equal(ids, read_labels(run()).ids)


@pytest.mark.parametrize(
    ("changed", "keyword"),
    [
        ({"overlap": 0.25}, "overlap 0.5, not 0.25"),
        ({"mpp": 1.0}, "mpp 0.5, not 1.0"),
        ({"tile": 32}, "tile 64, not 32"),
        ({"min_tissue": 0.2}, "min_tissue 0, not 0.2"),
        ({"background": 0}, "background 255, not 0"),
        ({"n_classes": 4}, "n_classes 3, not 4"),
        ({"model": "second"}, "model 'first', not 'second'"),
        ({"memory": 0}, "strips"),
        ({"slide": "other"}, "sha256 of the slide"),
    ],
)
def test_another_run_is_refused_and_the_bands_stay(run, stopped, slide_path, changed, keyword):
    if "slide" in changed:
        (stopped.parent / "other").mkdir()
        changed = {"slide": write_slide(stopped.parent / "other" / slide_path.name, glass_and_tissue()[::-1])}
    kept = {path.name for path in stopped.iterdir()}
    with pytest.raises(ValueError, match=keyword + ".*delete mask.ome.tif.work"):
        run(**{"model": "first"} | changed)
    assert {path.name for path in stopped.iterdir()} == kept
    assert any(name.endswith(".ids") for name in kept)


def test_damaged_bands_are_named(run, stopped):
    band = sorted(stopped.glob("*.ids"))[1]
    content = band.read_bytes()
    flipped = content[:99] + bytes([content[99] ^ 1]) + content[100:]
    for damage in (content[:-5], flipped, None):
        band.unlink()
        if damage:
            band.write_bytes(damage)
        with pytest.raises(ValueError, match=r"damaged.*Delete mask\.ome\.tif\.work"):
            run(model="first")
        band.write_bytes(content)
    for damage in ("{", "3"):
        (stopped / "settings.json").write_text(damage)
        with pytest.raises(ValueError, match=r"settings.json is damaged"):
            run(model="first")


def test_a_folder_of_other_files_is_left_alone(run, tmp_path):
    other = tmp_path / "mask.ome.tif.work" / "letter.txt"
    other.parent.mkdir()
    other.write_text("dear all")
    with pytest.raises(ValueError, match="holds other files"):
        run()
    assert other.read_text() == "dear all"
