"""A running hub, with and without a password, holds against every attack that we know."""

from __future__ import annotations

import psutil
import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.doors.connections import allow_many  # noqa: E402
from tests.browsing import serve  # noqa: E402
from tests.demos import attacks  # noqa: E402

pytestmark = pytest.mark.slow
AUTH = "anna:s:cret"


#: With a password, what comes before it; the rest is behind it.
BEFORE = (attacks.strangers, attacks.addresses, attacks.gigabytes)
BEHIND = tuple(attack for attack in attacks.ATTACKS if attack is not attacks.strangers)


@pytest.fixture(scope="module", params=[None, AUTH], ids=["open", "with a password"])
def hub(request, tmp_path_factory):
    allow_many()
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setenv("HISTOLAB_DEMO_AUTH", request.param)
        patch.setenv("HISTOLAB_DEMO_ROOM_MB", "200")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        with serve("demos", folder / "log.txt", errors_allowed=True) as url:
            (server,) = (child for child in psutil.Process().children() if "demos" in child.cmdline())
            yield attacks.Hub(url, request.param, server.pid)
    assert not list(folder.glob("histolab-demos-*")), "left behind by the server"


@pytest.mark.parametrize(
    ("hub", "attack"),
    [*((None, attack) for attack in BEHIND), *((AUTH, attack) for attack in BEFORE)],
    indirect=["hub"],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_hub_holds(hub, attack):
    rows = list(attack(hub))
    assert rows
    assert not [f"{row.attack} -> {row.answer}" for row in rows if not row.held]


def test_an_attack_that_gets_through_is_seen(hub):
    assert not hub.healthy() > 1
    assert hub.tells(f"… {hub.words} …")
    assert hub.unharmed()
    hub.secret.unlink()
    assert not hub.unharmed()
