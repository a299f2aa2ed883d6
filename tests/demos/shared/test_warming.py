"""Warming runs one task after another; an error is logged and stops nothing."""

import threading

from demos.shared.warming import soon


def test_one_after_the_other_and_an_error_is_logged(caplog):
    done, ready = [], threading.Event()

    def fail():
        done.append("first")
        raise ValueError("no weights")

    soon(fail)
    soon(lambda: done.append("second"))
    soon(ready.set)
    assert ready.wait(60)
    assert done == ["first", "second"]
    assert "no weights" in caplog.text
