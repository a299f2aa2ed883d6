"""A running hub, with and without a password, holds against every attack that we know."""

import psutil
import pytest

from demos.doors.connections import allow_many
from tests.browser.browsing import serve
from tests.demos.attacks import ATTACKS, addresses, gigabytes, strangers
from tests.demos.hub import Hub

pytestmark = pytest.mark.slow
OPEN, GUARDED = "", "anna:s:cret"


@pytest.fixture(scope="module")
def hub(request, tmp_path_factory):
    """A hub with the password that the test names, if any."""
    allow_many()
    folder, auth = tmp_path_factory.mktemp("hub"), request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HISTOLAB_DEMO_AUTH", auth)
        patch.setenv("HISTOLAB_DEMO_ROOM_MB", "200")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        with serve("demos", folder / "log.txt", errors_allowed=True) as url:
            port = url.rpartition(":")[2]
            (server,) = (child for child in psutil.Process().children() if port in child.cmdline())
            yield Hub(url, auth, server.pid)
    assert not list(folder.glob("histolab-demos-*")), "left behind by the server"


@pytest.mark.parametrize(
    ("hub", "attack"),
    [(OPEN, attack) for attack in ATTACKS if attack is not strangers]
    + [(GUARDED, attack) for attack in (strangers, addresses, gigabytes)],
    indirect=["hub"],
)
def test_the_hub_holds(hub, attack):
    rows = list(attack(hub))
    assert rows
    assert not [f"{row.attack} -> {row.answer}" for row in rows if not row.held]


@pytest.mark.parametrize("hub", [OPEN], indirect=True)
def test_an_attack_that_gets_through_is_seen(hub):
    attacked = Hub(hub.url)
    assert attacked.healthy() < 60
    assert attacked.tells(f"… {attacked.words} …")
    assert attacked.unharmed()
    attacked.secret.unlink()
    assert not attacked.unharmed()
