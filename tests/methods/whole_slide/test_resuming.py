"""A run that was stopped goes on where it was, and ends with the mask of a run that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pytest

from histolab_lite.formats.ome_tiff import read_labels
from histolab_lite.methods.whole_slide import segment_slide
from histolab_lite.methods.whole_slide.bands import BandFolder

TILES = 10 * 8  # of 64 pixels, every 32 and flush with the border, on 331 × 257


class Counting:
    """The segmenter, which counts its calls and stops after ``last`` of them."""

    def __init__(self, predict, last=None):
        self.predict, self.last, self.calls = predict, last, 0

    def __call__(self, rgb):
        if self.calls == self.last:
            raise RuntimeError("stopped")
        self.calls += 1
        return self.predict(rgb)


@pytest.fixture
def run(slide_path, tmp_path):
    return partial(
        segment_slide, slide_path, n_classes=3, out=tmp_path / "mask.ome.tif", mpp=0.5, tile=64, min_tissue=0,
        progress=None,
    )  # fmt: skip


@pytest.mark.parametrize("memory", [1 << 29, 0])
def test_goes_on_after_an_error(run, predict, tmp_path, memory):
    whole = Counting(predict)
    expected = read_labels(run(predict=whole, out=tmp_path / "whole.ome.tif", memory=memory)).ids
    calls, last = 0, 35
    for _ in range(50):
        part = Counting(predict, last)
        try:
            run(predict=part, memory=memory)
        except RuntimeError:
            assert not (tmp_path / "mask.ome.tif").exists()
            calls += part.calls
            continue
        break
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.ome.tif").ids, expected)
    assert part.calls < last <= calls  # what was finished is not computed again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.ome.tif", "whole.ome.tif"]
    if memory:
        assert whole.calls == TILES
    else:
        assert whole.calls > TILES  # tiles on the seams, twice


def test_finished_bands_need_no_prediction(run, predict, tmp_path, monkeypatch):
    """Stopped while the file was written: all bands are there."""

    def full(*args, **options):
        raise OSError("no space left")

    monkeypatch.setattr("histolab_lite.methods.whole_slide.inference.write_labels", full)
    with pytest.raises(OSError, match="no space"):
        run(predict=predict)
    monkeypatch.undo()
    ids = read_labels(run(predict=Counting(predict, last=0))).ids
    np.testing.assert_array_equal(ids, read_labels(run(predict=predict)).ids)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"overlap": 0.25}, "overlap 0.5 where 0.25"),
        ({"mpp": 1.0}, "mpp 0.5 where 1.0"),
        ({"tile": 32}, "tile 64 where 32"),
        ({"min_tissue": 0.2}, "min_tissue 0 where 0.2"),
        ({"background": 0}, "background 255 where 0"),
        ({"model": "second"}, "model 'first' where 'second'"),
        ({"memory": 0}, "strips"),
    ],
)
def test_other_settings_are_refused(run, predict, tmp_path, changed, message):
    with pytest.raises(RuntimeError, match="stopped"):
        run(predict=Counting(predict, 30), model="first")
    kept = sorted(path.name for path in (tmp_path / "mask.ome.tif.work").iterdir())
    with pytest.raises(ValueError, match=message + ".*delete mask.ome.tif.work"):
        run(predict=predict, **{"model": "first"} | changed)
    assert sorted(path.name for path in (tmp_path / "mask.ome.tif.work").iterdir()) == kept
    assert any(name.endswith(".ids") for name in kept)


def test_another_slide_is_refused(run, predict, write_slide, picture, tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        run(predict=Counting(predict, 30))
    other = write_slide(tmp_path / "small.tif", picture[::-1])
    with pytest.raises(ValueError, match="sha256 of the slide"):
        segment_slide(other, *([predict, 3, tmp_path / "mask.ome.tif"]), mpp=0.5, tile=64, min_tissue=0, progress=None)


def test_damaged_bands_are_named(run, predict, tmp_path):
    folder = tmp_path / "mask.ome.tif.work"
    with pytest.raises(RuntimeError, match="stopped"):
        run(predict=Counting(predict, 40))
    bands = sorted(folder.glob("*.ids"))
    content = bands[1].read_bytes()
    flipped = content[:99] + bytes([content[99] ^ 1]) + content[100:]
    for damage in (content[:-5], content[::-1], flipped, None):
        bands[1].write_bytes(damage) if damage else bands[1].unlink()
        with pytest.raises(ValueError, match=r"damaged.*Delete mask\.ome\.tif\.work"):
            run(predict=predict)
        bands[1].write_bytes(content)
    for damage in ("{", "3"):
        (folder / "settings.json").write_text(damage)
        with pytest.raises(ValueError, match=r"settings.json is damaged"):
            run(predict=predict)


def test_a_folder_of_other_files_is_left_alone(run, predict, tmp_path):
    other = tmp_path / "mask.ome.tif.work" / "letter.txt"
    other.parent.mkdir()
    other.write_text("dear reader")
    with pytest.raises(ValueError, match="holds other files"):
        run(predict=predict)
    assert other.read_text() == "dear reader"


@pytest.mark.slow
def test_goes_on_after_a_kill(run, slide_path, predict, tmp_path):
    script = f"""
        import sys
        import numpy as np
        from histolab_lite.methods.whole_slide import segment_slide
        calls = 0

        def predict(rgb):
            global calls
            calls += 1
            if calls == 40:
                print("now", flush=True)
                sys.stdin.read()
            y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
            place = np.stack([np.sin(x / 7), np.cos(y / 11), np.sin((x + 2 * y) / 13)])
            score = np.exp(rgb.transpose(2, 0, 1) / 60 + 2 * place)
            return score / score.sum(0)

        out = {str(tmp_path / "mask.ome.tif")!r}
        segment_slide({str(slide_path)!r}, predict, 3, out, mpp=0.5, tile=64, min_tissue=0, progress=None)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    rest = Counting(predict)
    ids = read_labels(run(predict=rest)).ids
    assert rest.calls == TILES - 20  # three rows of tiles were finished, of which the last reaches on downwards
    np.testing.assert_array_equal(ids, read_labels(run(predict=predict)).ids)


def test_goes_on_between_any_two_bands(run, predict, monkeypatch):
    """Also where the bands of the second run do not begin at the rows where those of the first one end."""
    options = {"tile": 100, "overlap": 0.3, "predict": predict}
    expected = read_labels(run(**options)).ids
    original, left = BandFolder.write, 0

    def write(self, strip, row, ids):
        nonlocal left
        if left == 0:
            raise OSError("no space left")
        left -= 1
        original(self, strip, row, ids)

    for kept in range(20):
        with monkeypatch.context() as patch:
            patch.setattr(BandFolder, "write", write)
            left = kept
            try:
                run(**options)
            except OSError:
                pass
            else:
                break
        np.testing.assert_array_equal(read_labels(run(**options)).ids, expected)
    assert kept >= 5
