"""What a run says of the machine that it ran on."""

from __future__ import annotations

import importlib.metadata

from histolab_lite.environment import device_name, environment


def test_environment_names_the_machine() -> None:
    machine = environment()
    assert machine["cpu_cores"] >= 1
    assert machine["device"] == device_name()
    assert machine["versions"]["histolab-lite"] == importlib.metadata.version("histolab-lite")
