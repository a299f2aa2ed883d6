"""What all tests of the demos need."""

import pytest


def pytest_pycollect_makemodule() -> None:
    """Skip the tests of this folder, with the reason, where Gradio is not installed."""
    pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")
