"""Time of its own that work may take."""

from __future__ import annotations

import pytest

from demos.sic.deadline import Deadline


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def deadline(clock):
    return Deadline(10, TimeoutError, clock)


def steps(clock, *seconds):
    for number, took in enumerate(seconds):
        clock.now += took
        yield number
    return "done"


def test_what_it_waits_does_not_count(clock, deadline):
    said = []
    for one in deadline.watch(steps(clock, 3, 3, 3)):
        said.append(one)
        clock.now += 1000
    assert said == [0, 1, 2]


def test_time_is_up_at_a_step(clock, deadline):
    work = deadline.watch(steps(clock, 6, 6, 0))
    assert next(work) == 0
    with pytest.raises(TimeoutError):
        next(work)


def test_time_is_up_within_a_step(clock, deadline):
    def long():
        yield 0
        for _ in range(100):
            clock.now += 1
            deadline.check()

    work = deadline.watch(long())
    assert next(work) == 0
    clock.now += 1000
    with pytest.raises(TimeoutError):
        next(work)
    assert clock.now == 1011


def test_what_is_done_is_done(clock, deadline):
    def last():
        yield 0
        clock.now += 60
        return "done"

    work = deadline.watch(last())
    next(work)
    with pytest.raises(StopIteration) as end:
        next(work)
    assert end.value.value == "done"


def test_closing_it_closes_the_work(clock, deadline):
    closed = []

    def work():
        try:
            yield 0
        finally:
            closed.append(True)

    watched = deadline.watch(work())
    next(watched)
    watched.close()
    assert closed == [True]
