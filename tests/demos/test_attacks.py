"""A running hub, with and without a password, holds against every attack that we know."""

import psutil
import pytest

from demos.doors.connections import allow_many
from tests.browser.browsing import serve
from tests.demos.attacks import ATTACKS, addresses, gigabytes, strangers
from tests.demos.hub import Hub

pytestmark = pytest.mark.slow


def running(folder, auth):
    """Serve the hub, with a password if there is one, and yield it once it has prepared its pages."""
    allow_many()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HISTOLAB_DEMO_AUTH", auth)
        patch.setenv("HISTOLAB_DEMO_ROOM_MB", "200")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        with serve("demos", folder / "log.txt", errors_allowed=True) as url:
            port = url.rpartition(":")[2]
            (server,) = (child for child in psutil.Process().children() if port in child.cmdline())
            hub = Hub(url, auth, server.pid)
            hub.settle()  # else its own start would count as an attack's memory
            yield hub
    assert not list(folder.glob("histolab-demos-*")), "left behind by the server"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("hub"), "")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("guarded"), "anna:s:cret")


def hold(attack, hub):
    """Attack the hub; every row must hold."""
    rows = list(attack(hub))
    assert rows
    assert not [f"{row.attack} -> {row.answer}" for row in rows if not row.held]


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack is not strangers])
def test_the_hub_holds(hub, attack):
    hold(attack, hub)


@pytest.mark.parametrize("attack", [strangers, addresses, gigabytes])
def test_a_hub_with_a_password_holds(guarded, attack):
    hold(attack, guarded)


def test_an_attack_that_gets_through_is_seen(hub):
    attacked = Hub(hub.url)
    assert attacked.healthy() < 60
    assert attacked.tells(f"… {attacked.words} …")
    assert attacked.unharmed()
    attacked.secret.unlink()
    assert not attacked.unharmed()
