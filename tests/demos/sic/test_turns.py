"""Who works next: no task is blocked by another's long work, and nobody takes all places."""

import threading

import pytest

from demos.sic.turns import Busy, Superseded, Turns, Visitor, Waiting
from tests.demos.sic.planted import wait_until

ONE, TWO, THREE = (Visitor(f"192.0.2.{number}", "page") for number in (1, 2, 3))


def task(slices: int):
    yield from range(slices)
    return "done"


def finish(shared) -> tuple[list, object]:
    said = []
    while True:
        try:
            said.append(next(shared))
        except StopIteration as done:
            return said, done.value


def test_three_tasks_take_turns_first_come_first_served():
    """Each slice lasts until the two other tasks ask for a turn, or have ended."""
    turns, threads, log, inside, overlaps, ended = Turns(patience=60), [], [], [], [], []

    def slices(name: str):
        for number in range(3):
            overlaps.extend(inside)
            inside.append(name)
            log.append(name)
            wait_until(lambda: len(turns._asking) + len(ended) == 2)
            inside.remove(name)
            yield number
        ended.append(name)

    for number, visitor in enumerate((ONE, TWO, THREE)):
        thread = threading.Thread(target=finish, args=[turns.share(slices("abc"[number]), visitor)], daemon=True)
        thread.start()
        wait_until(lambda: log and len(turns._asking) == number)  # noqa: B023
        threads.append(thread)
    for thread in threads:
        thread.join(60)
    assert "".join(log) == "abcabcabc"
    assert overlaps == []
    assert len(turns) == 0


def test_a_waiting_task_says_so_and_may_be_closed():
    turns, said = Turns(patience=0.01), []
    waiting = turns.share(task(1), TWO)

    def slices():
        said.append(next(waiting))
        yield 0

    assert finish(turns.share(slices(), ONE)) == ([0], None)
    assert said == [Waiting(1)]
    assert (str(Waiting(1)), str(Waiting(2))) == ("another slide", "2 other slides")
    assert len(turns) == 1
    waiting.close()
    assert len(turns) == 0


def test_a_waiting_task_is_ended_at_once():
    turns, ended = Turns(patience=60), []

    def waiting():
        with pytest.raises(Superseded):
            next(turns.share(task(1), TWO))
        ended.append(True)

    def slices():
        thread = threading.Thread(target=waiting, daemon=True)
        thread.start()
        wait_until(lambda: len(turns._asking) == 1)
        turns.end(TWO)
        thread.join(30)
        yield list(ended)

    assert finish(turns.share(slices(), ONE)) == ([[True]], None)


def test_a_task_that_nobody_asks_for_any_more_blocks_nobody():
    turns = Turns()
    lost = [turns.share(task(9), visitor) for visitor in (ONE, THREE)]
    assert [next(one) for one in lost] == [0, 0]
    assert finish(turns.share(task(3), TWO)) == ([0, 1, 2], "done")
    assert len(turns) == 2
    lost.clear()
    assert len(turns) == 0


def test_a_visitors_new_task_ends_the_old_one():
    turns = Turns()
    old, new = turns.share(task(9), ONE), turns.share(task(2), ONE)
    assert next(old) == next(new) == 0
    assert len(turns) == 1
    with pytest.raises(Superseded):
        next(old)
    assert finish(new) == ([1], "done")


@pytest.mark.parametrize(
    ("address", "places", "message"),
    [("192.0.2.1", 4, "2 slides from your network"), ("192.0.2.9", 2, "Many slides are being prepared")],
)
def test_places_are_limited_in_all_and_per_address_and_come_back(address, places, message):
    turns, other = Turns(places, each=2), Visitor(address, "other")
    held = [turns.share(task(9), Visitor("192.0.2.1", str(number))) for number in range(2)]
    assert [next(one) for one in held] == [0, 0]
    with pytest.raises(Busy, match=message):
        next(turns.share(task(1), other))
    held[0].close()
    assert next(turns.share(task(1), other)) == 0


def test_an_error_gives_up_the_turn_and_the_place():
    turns = Turns(patience=0.01)
    with pytest.raises(ZeroDivisionError):
        finish(turns.share((1 // number for number in (1, 0)), ONE))
    assert len(turns) == 0
    assert finish(turns.share(task(1), TWO)) == ([0], "done")
