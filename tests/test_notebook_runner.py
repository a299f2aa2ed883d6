"""The runner on tiny notebooks of its own: numbers gathered, mistakes refused, failures told and survived."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from typer.testing import CliRunner

from histolab_lite.notebooks import is_fresh, parameters, record, report, runner, source_hash
from histolab_lite.notebooks.__main__ import app
from histolab_lite.notebooks.parameters import LessonError
from histolab_lite.notebooks.recording import METRICS_MIME, format_metric, gather, summarise
from histolab_lite.notebooks.stamping import in_256_colours, staleness, tidy_and_stamp

SETUP = """import os, sys
from pathlib import Path
from tqdm.auto import tqdm
from histolab_lite.notebooks import record"""
DEFAULTS = 'data = "phantom"\nseeds = [0, 1, 2]\nlr = 0.1'


def tagged(source: str, tag: str) -> Any:
    return new_code_cell(source, metadata={"tags": [tag]})


def write(folder: Path, name: str, *cells: Any) -> Path:
    folder.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def lesson(folder: Path, name: str, body: str, defaults: str = DEFAULTS) -> Path:
    return write(
        folder,
        name,
        new_markdown_cell(f"# Title of <{name}>"),
        new_code_cell(SETUP),
        tagged(defaults, "parameters"),
        new_markdown_cell("Some prose.\n\n## The experiment"),
        new_code_cell(body),
    )


def png(colour: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def picture(colour: str, *tags: str) -> Any:
    shown = new_output("display_data", data={"image/png": png(colour)})
    return new_code_cell("show()", metadata={"tags": list(tags)}, outputs=[shown])


def command(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


# What a lesson records


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_summary_is_mean_and_sample_deviation(values: list[float]) -> None:
    summary = summarise("dice", values)
    assert summary["values"] == values
    assert summary["n"] == len(values)
    assert summary["mean"] == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert summary["sd"] == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), [0.5], torch.tensor([0.5])])
def test_one_value_has_no_deviation(value: Any) -> None:
    assert summarise("dice", value) == {"mean": 0.5, "sd": None, "n": 1, "values": [0.5]}


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([], "empty"),
        (float("nan"), "NaN"),
        ([1.0, float("inf")], "NaN or infinity"),
        ("0.8", "numbers only"),
        (True, "numbers only"),
        (None, "numbers only"),
        ({"a": 1}, "numbers only"),
        ([[1.0, 2.0]], "shape"),
        ([[1.0], [2.0, 3.0]], "ragged"),
    ],
)
def test_what_is_no_number_is_refused_by_name(value: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=rf"record\(dice=.*{complaint}"):
        record(dice=value)


def test_record_needs_something() -> None:
    with pytest.raises(ValueError, match="given nothing"):
        record()


def test_record_prints_a_table_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    record(dice=[0.8, 0.9], patches=3120)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["dice", "0.850", "±", "0.071", "2"]
    assert lines[2].split() == ["patches", "3120", "1"]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([0.87654, 0.87654], "0.877 ± 0.000"),
        ([12.3456], "12.35"),
        ([1234.56], "1234.6"),
        ([3e-5], "3.00e-05"),
        ([0], "0"),
    ],
)
def test_metrics_are_written_to_a_sensible_precision(values: list[float], written: str) -> None:
    assert format_metric(summarise("x", values)) == written


def test_a_name_recorded_twice_is_refused() -> None:
    payload = {"metrics": [{"name": "dice", **summarise("dice", 1.0)}], "peak_memory_mib": None}
    cell = new_code_cell("", outputs=[new_output("display_data", data={METRICS_MIME: payload})])
    assert gather(new_notebook(cells=[cell]))[0].keys() == {"dice"}
    with pytest.raises(ValueError, match="'dice' is recorded twice"):
        gather({"cells": [cell, cell]})


# What may be set


def test_declared_parameters_and_defaults() -> None:
    source = "a = 1\nb: float = 2.5\nc = d = [1, 2]\ne = 2 * 3\nprint(a)\nf: int"
    found = parameters.declared(new_notebook(cells=[tagged(source, "parameters")]), "01_x")
    assert found == {"a": 1, "b": 2.5, "c": [1, 2], "d": [1, 2], "e": None}


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [tagged("a = 1", "parameters"), tagged("b = 1", "parameters")],
        [new_markdown_cell("a", metadata={"tags": ["parameters"]})],
        [tagged("a = ", "parameters")],
    ],
    ids=["none", "two", "prose", "not Python"],
)
def test_anything_but_one_parameters_cell_is_refused(cells: list[Any], tmp_path: Path) -> None:
    write(tmp_path, "01_x", *cells)
    with pytest.raises(LessonError, match="01_x.*(parameters|tagged)"):
        runner.find_lessons(tmp_path)


LESSONS = {
    "01_simclr": {"data": "phantom", "epochs": 3, "lr": 0.1},
    "02_proto": {"data": "phantom", "k": [1]},
}


def parameter_file(folder: Path, content: Any) -> Path:
    path = folder / "p.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_parameter_file_sets_all_then_one(tmp_path: Path) -> None:
    content = {"all": {"data": "glas", "lr": 1}, "02": {"data": "ocdc"}, "01_simclr": None}
    path = parameter_file(tmp_path, content)
    assert parameters.read_parameter_file(path, LESSONS) == {
        "01_simclr": {"data": "glas", "lr": 1},
        "02_proto": {"data": "ocdc"},
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"01_simclr": {"epoch": 5}}, "01_simclr has no parameter 'epoch'. It has data, epochs, lr"),
        ({"all": {"epoch": 5}}, "no lesson declares the parameter 'epoch'"),
        ({"07": {"epochs": 5}}, "the key '07' means no lesson"),
        ({"0": {"epochs": 5}}, "means 01_simclr and 02_proto"),
        ({1: {"epochs": 5}}, "in quotes"),
        ("01_simclr:\n  lr: 1e-3", "write 1.0e-3"),
        ({"01_simclr": {"epochs": True}}, "expects a number for 'epochs', not the truth value True"),
        ({"02_proto": {"k": 3}}, "expects a list"),
        ({"01_simclr": [1]}, "`parameter: value` lines"),
        ([1], "expected a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_parameter_file_that_does_not_fit_is_refused(tmp_path: Path, content: Any, complaint: str) -> None:
    with pytest.raises(LessonError) as refusal:
        parameters.read_parameter_file(parameter_file(tmp_path, content), LESSONS)
    assert complaint in str(refusal.value)


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path: Path) -> None:
    lesson(tmp_path / "nb", "00_a", "record(x=1)")
    path = parameter_file(tmp_path, {"00_a": {"sseeds": [1]}})
    outcome = command("--lessons", tmp_path / "nb", "--params", path, "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert "00_a has no parameter 'sseeds'" in outcome.output
    assert not (tmp_path / "out").exists()


def test_data_that_no_lesson_takes_is_refused(tmp_path: Path) -> None:
    lesson(tmp_path / "nb", "00_a", "record(x=1)", defaults="seeds = [0]")
    outcome = command("--lessons", tmp_path / "nb", "--data", "glas", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert "none of 00_a has it" in outcome.output


# Which lessons, and where to


def test_only_takes_the_starts_of_names(tmp_path: Path) -> None:
    for name in ("02_c", "00_a", "01_b"):
        lesson(tmp_path, name, "")
    found = [lesson.stem for lesson in runner.find_lessons(tmp_path, ["02", "00_a.ipynb"])]
    assert found == ["00_a", "02_c"]


@pytest.mark.parametrize("name", ["../00_a", "/etc/passwd", "*", "", "ö 🧫", "00_a/..", "-rf"])
def test_only_refuses_what_is_no_lesson(tmp_path: Path, name: str) -> None:
    lesson(tmp_path, "00_a", "")
    outcome = command("--lessons", tmp_path, f"--only={name}", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert f"No lesson starts with '{name}'. The lessons are 00_a." in outcome.output


def test_a_folder_with_other_files_is_not_written_to(tmp_path: Path) -> None:
    path = lesson(tmp_path, "00_a", "record(x=1)")
    before = path.read_bytes()
    outcome = command("--lessons", tmp_path, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "holds other files" in outcome.output
    assert path.read_bytes() == before


def test_in_place_takes_no_parameters(tmp_path: Path) -> None:
    assert command("--lessons", tmp_path, "--in-place", "--data", "glas").exit_code == 2


def test_help_explains_every_option() -> None:
    outcome = command("--help")
    assert outcome.exit_code == 0
    options = ("--only", "--data", "--params", "--out", "--in-place", "--check", "--update", "--earlier", "--timeout")
    for option in (*options, "metrics.json"):
        assert option in outcome.output


# A run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run by the command: a lesson that works, one that raises, one whose process dies, another."""
    base = tmp_path_factory.mktemp("run")
    folder = base / "lessons"
    lesson(
        folder,
        "00_good",
        "print(sys.executable, os.environ['HISTOLAB_DATA'], sep='\\n')\n"
        "for _ in tqdm(range(3)): pass\n"
        "Path('stray.txt').write_text('left by the lesson')\n"
        "record(z_first=[0.8, 0.9, 1.0], a_second=len(data))",
    )
    lesson(folder, "01_raises", "def share(n):\n    return 1 / n\nshare(0)")
    lesson(folder, "02_dies", "os._exit(1)")
    lesson(folder, "03_last", "record(seed_count=len(seeds))", defaults="seeds = [0]")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        patch.setenv("HISTOLAB_DATA", "tissue")  # relative, as in HISTOLAB_DATA=../shared/data make tutorial
        outcome = command("--lessons", folder, "--data", "glas", "--out", base / "out {a}")
    out = base / "out {a}"
    return {
        "base": base,
        "out": out,
        "outcome": outcome,
        "metrics": json.loads((out / "metrics.json").read_text()),
        "unchanged": before == {path.name: path.read_bytes() for path in folder.iterdir()},
    }


def test_numbers_are_gathered_in_the_order_recorded(run: dict[str, Any]) -> None:
    good = run["metrics"]["lessons"]["00_good"]
    assert list(good["metrics"]) == ["z_first", "a_second"]
    first = good["metrics"]["z_first"]
    assert (first["mean"], first["n"], first["values"]) == (pytest.approx(0.9), 3, [0.8, 0.9, 1.0])
    assert first["sd"] == pytest.approx(0.1)
    assert good["metrics"]["a_second"]["mean"] == len("glas")
    assert good["parameters"] == {"data": "glas"}
    assert good["runtime_s"] > 0
    assert good["peak_memory_mib"] > 10
    assert good["error"] is None


def test_the_machine_is_named(run: dict[str, Any]) -> None:
    machine = run["metrics"]["environment"]
    assert machine["versions"]["torch"] == importlib.metadata.version("torch")
    assert {"date", "device", "python", "cpu_cores"} <= machine.keys()


def test_lessons_run_in_this_interpreter_on_the_callers_data(run: dict[str, Any]) -> None:
    notebook = nbformat.read(run["out"] / "00_good.ipynb", as_version=4)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    said = "".join(output["text"] for output in outputs if "text" in output)
    # and no line of a progress bar
    assert said.splitlines() == [sys.executable, str((run["base"] / "tissue").resolve())]


def test_a_failing_lesson_is_told_and_the_others_run(run: dict[str, Any]) -> None:
    lessons, said = run["metrics"]["lessons"], run["outcome"].output
    assert run["outcome"].exit_code == 1
    assert "01_raises failed at cell 5 of 5, under 'The experiment'" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "its Python process died" in lessons["02_dies"]["error"]
    assert lessons["03_last"]["metrics"]["seed_count"]["mean"] == 1
    assert lessons["03_last"]["parameters"] == {}  # it has no parameter `data`
    assert "2 of 4 lessons" in said
    kept = nbformat.read(run["out"] / "01_raises.ipynb", as_version=4)
    assert any(o["output_type"] == "error" for cell in kept["cells"] for o in cell.get("outputs", []))


def test_nothing_is_written_beside_the_sources(run: dict[str, Any]) -> None:
    assert run["unchanged"]
    assert (run["out"] / "stray.txt").exists()
    assert {path.name for path in run["base"].iterdir()} == {"lessons", "out {a}"}


def test_index_links_to_what_exists_and_shows_the_figures(run: dict[str, Any]) -> None:
    page = (run["out"] / "index.html").read_text()
    for stem in ("00_good", "01_raises", "02_dies", "03_last"):
        for suffix in (".html", ".ipynb"):
            assert f'href="{stem}{suffix}"' in page
            assert (run["out"] / f"{stem}{suffix}").exists()
    assert "0.900 ± 0.100" in page
    assert "Title of &lt;00_good&gt;" in page
    assert "ZeroDivisionError" in page
    assert "<script" not in page
    assert "http" not in page


def test_a_run_that_is_stopped_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lesson(tmp_path / "nb", "00_a", "record(x=1)")
    lesson(tmp_path / "nb", "01_b", "record(x=2)")
    real = runner.run_lesson

    def stop_at_second(chosen: runner.Lesson, *rest: Any) -> runner.Result:
        if chosen.stem == "01_b":
            raise KeyboardInterrupt
        return real(chosen, *rest)

    monkeypatch.setattr(runner, "run_lesson", stop_at_second)
    assert command("--lessons", tmp_path / "nb", "--out", tmp_path / "out").exit_code != 0
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())["lessons"]
    assert kept["00_a"]["metrics"]["x"]["mean"] == 1
    assert 'href="00_a.html"' in (tmp_path / "out" / "index.html").read_text()


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    lesson(tmp_path, "00_slow", "while True: pass")
    (slow,) = runner.find_lessons(tmp_path)
    result = runner.run_lesson(slow, tmp_path / "out.ipynb", tmp_path, timeout=2)
    assert result.error is not None
    assert result.error.startswith("cell 5 of 5, under 'The experiment': took longer than 2 s.")


def test_thumbnail_is_the_tagged_picture_or_the_last() -> None:
    def colour(*cells: Any) -> tuple[int, ...]:
        uri = report.thumbnail(new_notebook(cells=list(cells)))
        assert uri is not None
        kind, _, data = uri.partition(",")
        assert kind == "data:image/webp;base64"
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((4, 4))

    assert colour(picture("red"), picture("blue"))[2] > 200
    assert colour(picture("red", "thumbnail"), picture("blue"))[0] > 200
    assert report.thumbnail(new_notebook(cells=[new_code_cell("1")])) is None


# Committed outputs


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout") / "notebooks"
    path = lesson(folder, "00_good", "print(Path.home() / 'x')\nrecord(x=[1, 2])")
    lesson(folder, "01_raises", "1 / 0")
    assert not is_fresh(nbformat.read(path, as_version=4))
    before = (folder / "01_raises.ipynb").read_bytes()
    outcome = command("--lessons", folder, "--in-place")
    assert outcome.exit_code == 1
    assert (folder / "01_raises.ipynb").read_bytes() == before  # what failed is left as it was
    assert sorted(os.listdir(folder)) == ["00_good.ipynb", "01_raises.ipynb"]
    return path


def test_in_place_stamps_tidy_outputs(stamped: Path) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    assert is_fresh(notebook)
    assert notebook["metadata"]["histolab"]["source_hash"] == source_hash(notebook)
    text = stamped.read_text()
    for volatile in ("papermill", "injected-parameters", "start_time", str(Path.home()), "<Figure"):
        assert volatile not in text
    assert "~/x" in text
    assert gather(notebook)[0]["x"]["n"] == 2


def packed(picture: np.ndarray) -> Image.Image:
    full = io.BytesIO()
    Image.fromarray(picture).save(full, "PNG")
    return Image.open(io.BytesIO(base64.b64decode(in_256_colours(base64.b64encode(full.getvalue()).decode()))))


def test_committed_pictures_have_256_colours() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    few = packed(noise)
    assert few.size == (30, 40)
    assert few.mode == "P"
    assert np.abs(np.asarray(few.convert("RGB")).astype(int) - noise).mean() < 40


def test_the_colours_of_a_key_survive_in_a_picture_full_of_others() -> None:
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 255 - ramp[:, None]), 2)  # 300 × 300
    key = np.array([(213, 94, 0), (0, 158, 115), (204, 121, 167), (0, 0, 0)])
    picture[:4, :4] = key[:, None]
    found = np.asarray(packed(picture).convert("RGB")).astype(int)[:4, :4]
    assert np.abs(found - key[:, None]).max() <= 16


def edit_source(cells: list[Any]) -> None:
    cells[-1]["source"] += "\n# changed"


def edit_prose(cells: list[Any]) -> None:
    cells[0]["source"] += "!"


def edit_tags(cells: list[Any]) -> None:
    cells[-1]["metadata"]["tags"] = ["thumbnail"]


def swap(cells: list[Any]) -> None:
    first, second, *_ = (number for number, cell in enumerate(cells) if cell["cell_type"] == "code")
    cells[first], cells[second] = cells[second], cells[first]


def test_better_prose_leaves_outputs_fresh(stamped: Path) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    edit_prose(notebook["cells"])
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert is_fresh(notebook)


@pytest.mark.parametrize("edit", [edit_source, edit_tags, swap, list.pop])
def test_an_edit_of_code_makes_outputs_stale(stamped: Path, edit: Any) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    edit(notebook["cells"])
    assert staleness(notebook) == "its cells have changed since they were executed"


def test_errors_and_unexecuted_cells_are_stale(stamped: Path) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    notebook["cells"][-1]["outputs"] = [new_output("error", ename="E", evalue="", traceback=[])]
    assert staleness(notebook) == "cell 5 ended in an error"
    notebook["cells"][-1].update(outputs=[], execution_count=None)
    assert staleness(notebook) == "cell 5 has not been executed"


def test_tidying_rewrites_this_machines_folders(tmp_path: Path) -> None:
    text = f"{tmp_path}/a.py {Path.home()}/b {sys.prefix}/lib {tmp_path}2 /tmp/ipykernel_12/345.py:3: Warning"
    cell = new_code_cell("1", outputs=[new_output("stream", name="stderr", text=text)])
    notebook = new_notebook(cells=[cell])
    tidy_and_stamp(notebook, root=tmp_path)
    expected = f"./a.py ~/b <env>/lib {tmp_path}2 <cell>:3: Warning"
    assert cell["outputs"][0]["text"] == expected
