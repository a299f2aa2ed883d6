"""Made-up lessons and their numbers, for the tests of what runs lessons, reads them and judges them."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from histolab_lite.recording import summarise
from tools.lessons.__main__ import app
from tools.lessons.checking import propose
from tools.lessons.claims import Claim, Evidence
from tools.lessons.runs import Result, write_run

SETUP = """import os, sys
from pathlib import Path
from tqdm.auto import tqdm
from histolab_lite.recording import record"""


def tagged(source, tag):
    return new_code_cell(source, metadata={"tags": [tag]})


def write_notebook(folder, name, *cells):
    folder.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def notebook(folder, name, body, declared='data = "phantom"\nseeds = [0, 1, 2]\nepochs = 8'):
    prose = [new_markdown_cell(f"# Title of <{name}>"), new_markdown_cell("Some prose.\n\n## The experiment")]
    parameters = tagged(declared, "parameters")
    return write_notebook(folder, name, prose[0], new_code_cell(SETUP), parameters, prose[1], new_code_cell(body))


def command(*arguments):
    """`python -m tools.lessons` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


MACHINE = {"date": "2026-02-03T04:05:06", "python": "3.11.9", "versions": {"torch": "2.6.0", "numpy": "2.1.0"}}


def lesson(error=None, chosen=None, defaults=None, **metrics):
    """What came of a lesson that recorded these numbers."""
    summaries = {name: summarise(name, values) for name, values in metrics.items()}
    declared = {"data": "phantom", "seeds": [0, 1, 2], "epochs": 8} | (defaults or {})
    return Result("00_a", chosen or {}, declared, 12.0, summaries, None, error)


def write_results(folder, run):
    """Write the metrics.json of a run into its folder."""
    folder.mkdir(exist_ok=True)
    write_run(folder, run, MACHINE)
    return folder


BEFORE = {
    "00_a": lesson(dice=[0.8, 0.81, 0.79], loss=[1.5, 1.6, 1.4], best=0.9),
    "01_b": lesson(dice=[0.7, 0.7, 0.7]),
}
BASELINE = propose(BEFORE, {})


def claim(**fields):
    """A claim that dice_a of 00_a lies above 0, unless `fields` say otherwise."""
    texts = {"id": "a_above_b", "paper": "CVM", "where": "Table 1", "claim": "A beats B.", "published": "0.8 to 0.7"}
    return Claim(**({**texts, "lesson": "00_a", "metric": "dice_a"} | fields))


def evidence(*seeds, **metrics):
    """What 00_a recorded, with these seeds or, where none are given, without such a parameter."""
    parameters = {"data": "phantom"} | ({"seeds": list(seeds)} if seeds else {})
    return {"00_a": Evidence(parameters, metrics, "2026-02-03", {})}


FIVE = {"seeds": [0, 1, 2, 3, 4]}
BETTER, WORSE = [0.81, 0.79, 0.83, 0.8, 0.77], [0.72, 0.68, 0.7, 0.71, 0.69]
CLAIMS = [
    claim(beats=("dice_b",)),
    claim(id="below_c", paper="SIC", beats=("dice_b", "dice_c"), within=True, bound=0.05, note="C is ours."),
    claim(id="other", paper="MLPS", lesson="01_b", metric="f1"),
]
RUN = {"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5), "02_c": lesson(dice=0.5)}
NUMBERS = evidence(0, 1, 2, 3, 4, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5)
