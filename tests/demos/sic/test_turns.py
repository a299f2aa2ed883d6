"""Who works next: nobody is held up by another's long work, and nobody takes all places."""

from __future__ import annotations

import threading
import time

import pytest

from demos.sic.turns import Busy, Superseded, Turns, Visitor, Waiting

ONE, TWO = Visitor("192.0.2.1", "a"), Visitor("192.0.2.2", "b")


def work(slices: int, log: list | None = None, name: str = "", seconds: float = 0.0):
    for number in range(slices):
        time.sleep(seconds)
        if log is not None:
            log.append(name)
        yield number
    return name


def finish(shared) -> tuple[list, object]:
    said = []
    while True:
        try:
            said.append(next(shared))
        except StopIteration as done:
            return said, done.value


def test_alone_it_is_the_work_itself():
    turns = Turns()
    assert finish(turns.share(work(3, name="done"), ONE)) == ([0, 1, 2], "done")
    assert len(turns) == 0


def test_short_work_is_not_held_up_by_long_work():
    turns, log, began = Turns(), [], threading.Event()

    def long():
        for said in turns.share(work(200, log, "long", 0.002), ONE):
            if said == 3:
                began.set()

    thread = threading.Thread(target=long)
    thread.start()
    assert began.wait(10)
    before = len(log)
    finish(turns.share(work(5, log, "short", 0.002), TWO))
    during = log[before:]
    thread.join()
    assert during.count("short") == 5
    assert during.count("long") <= 10
    assert log.count("long") == 200


def test_no_two_slices_are_at_work_at_once():
    turns, inside, most = Turns(places=6, each=6), [0], [0]

    def slices():
        for _ in range(20):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            inside[0] -= 1
            yield None

    visitors = [Visitor("", str(number)) for number in range(6)]
    threads = [threading.Thread(target=finish, args=[turns.share(slices(), visitor)]) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert most == [1]
    assert len(turns) == 0


def test_first_come_is_first_served():
    turns, log, started = Turns(patience=10), [], threading.Event()

    def holding():
        started.set()
        while len(turns._asking) < 3:
            time.sleep(0.001)
        yield None

    threads = [threading.Thread(target=finish, args=[turns.share(holding(), Visitor("", "0"))])]
    threads[0].start()
    assert started.wait(10)
    for name in "abc":
        threads.append(threading.Thread(target=finish, args=[turns.share(work(1, log, name), Visitor(name, ""))]))
        threads[-1].start()
        until = time.monotonic() + 10
        while len(turns._asking) < len(threads) - 1 and time.monotonic() < until:
            time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert log == ["a", "b", "c"]


def test_who_waits_says_so_and_may_leave():
    turns, gate, begun = Turns(patience=0.01), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert gate.wait(10)
        yield None

    thread = threading.Thread(target=finish, args=[turns.share(slow(), ONE)])
    thread.start()
    assert begun.wait(10)
    waiting = turns.share(work(1), TWO)
    assert next(waiting) == Waiting(1)
    assert str(Waiting(1)) == "another slide"
    waiting.close()
    assert len(turns) == 1
    gate.set()
    thread.join(10)
    assert len(turns) == 0


def test_who_has_left_without_a_word_holds_nobody_up():
    turns = Turns()
    lost, also_lost = turns.share(work(9), ONE), turns.share(work(9), Visitor("192.0.2.3", "c"))
    assert next(lost) == next(also_lost) == 0
    assert finish(turns.share(work(3, name="done"), TWO)) == ([0, 1, 2], "done")
    assert len(turns) == 2
    del lost, also_lost
    assert len(turns) == 0


def test_the_newest_of_a_visitor_wins():
    turns = Turns()
    old = turns.share(work(9), ONE)
    assert next(old) == 0
    new = turns.share(work(2, name="new"), ONE)
    assert next(new) == 0
    assert len(turns) == 1
    with pytest.raises(Superseded):
        next(old)
    assert finish(new) == ([1], "new")


def test_who_waits_for_a_turn_is_ended_at_once():
    turns, gate, begun, ended = Turns(patience=60), threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        assert gate.wait(10)
        yield None

    def waiting():
        with pytest.raises(Superseded):
            next(turns.share(work(1), TWO))
        ended.append(True)

    threads = [threading.Thread(target=finish, args=[turns.share(slow(), ONE)]), threading.Thread(target=waiting)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    until = time.monotonic() + 10
    while len(turns) < 2 and time.monotonic() < until:
        time.sleep(0.001)
    turns.end(TWO)
    threads[1].join(10)
    assert ended == [True]
    gate.set()
    threads[0].join(10)


def test_one_address_cannot_take_all_places():
    turns = Turns(places=4, each=2)
    held = [turns.share(work(9), Visitor("192.0.2.1", str(number))) for number in range(2)]
    for one in held:
        next(one)
    with pytest.raises(Busy, match="2 slides from your network"):
        next(turns.share(work(1), Visitor("192.0.2.1", "other")))
    assert next(turns.share(work(9), TWO)) == 0


def test_places_are_bounded_and_come_back():
    turns = Turns(places=2, each=2)
    one, two = turns.share(work(9), ONE), turns.share(work(9), TWO)
    next(one), next(two)
    with pytest.raises(Busy, match="Come back in some minutes"):
        next(turns.share(work(1), Visitor("192.0.2.3", "c")))
    two.close()
    assert next(turns.share(work(1), Visitor("192.0.2.3", "c"))) == 0


def test_an_error_gives_up_the_turn_and_the_place():
    turns = Turns(patience=0.01)

    def failing():
        yield 0
        raise ZeroDivisionError

    shared = turns.share(failing(), ONE)
    next(shared)
    with pytest.raises(ZeroDivisionError):
        next(shared)
    assert len(turns) == 0
    assert finish(turns.share(work(1, name="done"), TWO)) == ([0], "done")
