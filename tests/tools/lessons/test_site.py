"""The website of a run: its own lessons, those that failed too, and its page in front."""

import pytest

pytest.importorskip("sphinx", reason="the site needs Sphinx: pip install 'histolab-lite[docs]'")

from tests.tools.lessons.made_up import command, notebook  # noqa: E402

pytestmark = pytest.mark.slow


def test_a_run_becomes_a_site_even_where_a_lesson_failed(tmp_path):
    notebook(tmp_path / "nb", "00_tissue", "record(dice=[0.8, 0.9])")
    notebook(tmp_path / "nb", "01_simclr", "print('my' + ' own'); 1 / 0")
    outcome = command("--lessons", tmp_path / "nb", "--out", tmp_path / "run", "--site")
    page = tmp_path / "run" / "site" / "run.html"
    assert outcome.exit_code == 1  # a lesson failed, and the site is there
    assert f"Open {page}." in outcome.output
    assert "0.850 ± 0.071" in page.read_text()
    assert "ZeroDivisionError" in page.read_text()
    lessons = page.with_name("lessons")
    assert "my own" in (lessons / "01_simclr.html").read_text()
    assert (lessons / "11_what_a_label_buys.html").exists()  # committed
    assert 'href="../run.html"' in (lessons / "01_simclr.html").read_text()
