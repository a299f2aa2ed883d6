"""A checkout in small, for the tests of the command."""

import pytest
import yaml

from tests.tools.lessons.made_up import BASELINE, BEFORE, notebook, write_results
from tools.lessons.checking import as_json
from tools.lessons.ledger import BEGIN, END

LESSON = """
from random import Random
noise = [Random(seed).gauss(0, 0.01) for seed in seeds]
record(dice_a=[0.8 + x for x in noise], dice_b=[0.7 - x for x in noise])"""
ENTRY = {"paper": "CVM", "where": "Table 1", "claim": "A beats B.", "published": "0.8 to 0.7"}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The current folder: two lessons, the numbers expected of them, a claim on each, and the results of a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for stem in BEFORE:
        notebook(tmp_path / "nb", stem, LESSON)
    (tmp_path / "nb" / "expected.json").write_text(as_json(BASELINE))
    claims = [ENTRY | {"id": f"a_{x}", "lesson": x, "metric": "dice_a", "beats": "dice_b"} for x in BEFORE]
    (tmp_path / "nb" / "claims.yaml").write_text(yaml.safe_dump(claims))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "claims.md").write_text(f"# Title\n\n{BEGIN}\n{END}\n")
    write_results(tmp_path / "run", BEFORE)
    return tmp_path
