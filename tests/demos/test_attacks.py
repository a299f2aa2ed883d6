"""A running hub, with and without a password, holds against every attack that we know."""

from __future__ import annotations

from contextlib import contextmanager

import psutil
import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.doors.connections import allow_many  # noqa: E402
from tests.browser.browsing import serve  # noqa: E402
from tests.demos import attacks  # noqa: E402
from tests.demos.hub import Hub  # noqa: E402

pytestmark = pytest.mark.slow
AUTH = "anna:s:cret"


@contextmanager
def running(folder, auth):
    allow_many()
    with pytest.MonkeyPatch.context() as patch:
        if auth:
            patch.setenv("HISTOLAB_DEMO_AUTH", auth)
        patch.setenv("HISTOLAB_DEMO_ROOM_MB", "200")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        with serve("demos", folder / "log.txt", errors_allowed=True) as url:
            port = url.rpartition(":")[2]
            (server,) = (child for child in psutil.Process().children() if port in child.cmdline())
            yield Hub(url, auth, server.pid)
    assert not list(folder.glob("histolab-demos-*")), "left behind by the server"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running(tmp_path_factory.mktemp("open"), None) as hub:
        yield hub


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with running(tmp_path_factory.mktemp("guarded"), AUTH) as hub:
        yield hub


def assert_holds(hub, attack):
    rows = list(attack(hub))
    assert rows
    assert not [f"{row.attack} -> {row.answer}" for row in rows if not row.held]


@pytest.mark.parametrize("attack", [attack for attack in attacks.ATTACKS if attack is not attacks.strangers])
def test_the_hub_holds(hub, attack):
    assert_holds(hub, attack)


@pytest.mark.parametrize("attack", [attacks.strangers, attacks.addresses, attacks.gigabytes])
def test_nothing_gets_past_the_password(guarded, attack):
    assert_holds(guarded, attack)


def test_an_attack_that_gets_through_is_seen(hub):
    assert not hub.healthy() > 1
    assert hub.tells(f"… {hub.words} …")
    assert hub.unharmed()
    hub.secret.unlink()
    assert not hub.unharmed()
