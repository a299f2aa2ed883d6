"""The time limit of a task counts its own work only."""

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
def watched(clock):
    """Watches a task whose steps take so many seconds; within a step it checks the time after every second."""
    deadline = Deadline(10, TimeoutError, clock)

    def task(*steps: int):
        for number, seconds in enumerate(steps):
            for _ in range(seconds):
                clock.now += 1
                if number == 1:
                    deadline.check()
            yield number
        clock.now += 60
        return "done"

    return lambda *steps: deadline.watch(task(*steps))


def test_waiting_does_not_count_nor_does_the_last_step(clock, watched):
    work = watched(3, 3, 4)
    for number in range(3):
        assert next(work) == number
        clock.now += 1000
    with pytest.raises(StopIteration) as end:
        next(work)
    assert end.value.value == "done"


@pytest.mark.parametrize(("steps", "late_after"), [((11,), 11), ((6, 9), 11), ((3, 3, 9), 15)])
def test_time_is_up_at_a_step_or_within_it(clock, watched, steps, late_after):
    work = watched(*steps)
    for _ in steps[:-1]:
        next(work)
    with pytest.raises(TimeoutError):
        next(work)
    assert clock.now == late_after


def test_closing_it_closes_the_task(clock):
    closed = []

    def task():
        try:
            yield 0
        finally:
            closed.append(True)

    watched = Deadline(10, TimeoutError, clock).watch(task())
    next(watched)
    watched.close()
    assert closed == [True]
