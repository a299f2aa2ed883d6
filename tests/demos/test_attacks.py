"""A running hub, with and without a password, holds against every attack that we know."""

from contextlib import contextmanager

import psutil
import pytest

from demos.doors.connections import allow_many
from tests.browser.browsing import serve
from tests.demos import attacks
from tests.demos.hub import Hub

pytestmark = pytest.mark.slow


@contextmanager
def running(folder, auth=""):
    allow_many()
    with pytest.MonkeyPatch.context() as patch:
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
    with running(tmp_path_factory.mktemp("open")) as hub:
        yield hub


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with running(tmp_path_factory.mktemp("guarded"), "anna:s:cret") as hub:
        yield hub


OPEN = [attack for attack in attacks.ATTACKS if attack is not attacks.strangers]


@pytest.mark.parametrize(
    ("attacked", "attack"),
    [("hub", attack) for attack in OPEN]
    + [("guarded", attack) for attack in (attacks.strangers, attacks.addresses, attacks.gigabytes)],
)
def test_the_hub_holds(request, attacked, attack):
    rows = list(attack(request.getfixturevalue(attacked)))
    assert rows
    assert not [f"{row.attack} -> {row.answer}" for row in rows if not row.held]


def test_an_attack_that_gets_through_is_seen(hub):
    assert hub.healthy() < 60
    assert hub.tells(f"… {hub.words} …")
    assert hub.unharmed()
    hub.secret.unlink()
    assert not hub.unharmed()
