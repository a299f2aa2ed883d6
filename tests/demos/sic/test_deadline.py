"""The time limit of a task counts its own work only."""

from types import SimpleNamespace

import pytest

from demos.sic.deadline import Deadline


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def watched(clock):
    """Watches a task whose steps take so many seconds; in its second step it checks the time after every second."""
    deadline = Deadline(10, TimeoutError, lambda: clock.now)

    def task(*steps: int):
        try:
            for number, seconds in enumerate(steps):
                for _ in range(seconds):
                    clock.now += 1
                    if number == 1:
                        deadline.check()
                yield number
            clock.now += 60
            return "done"
        finally:
            clock.closed = True

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


def test_closing_it_closes_the_task(clock, watched):
    work = watched(1, 1)
    next(work)
    work.close()
    assert clock.closed
