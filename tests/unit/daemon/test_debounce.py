"""A rescan comes soon after the last event, and not much later than the first."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qatdp.daemon.debounce import LONGEST_DELAY_S, QUIET_PERIOD_S, RescanSchedule

# Milliseconds, so that sums of them are exact enough to compare.
TIMES = st.lists(st.integers(0, 5000), min_size=1, max_size=20).map(sorted)
NOTHING = RescanSchedule()


def after(times_ms: list[int], schedule: RescanSchedule = NOTHING) -> RescanSchedule:
    for time_ms in times_ms:
        schedule = schedule.event(time_ms / 1000)
    return schedule


@given(TIMES)
def test_a_scan_is_due_when_it_is_quiet_or_the_first_event_has_waited_long_enough(times_ms: list[int]) -> None:
    due_s, first_s, last_s = after(times_ms).due_s, times_ms[0] / 1000, times_ms[-1] / 1000
    assert due_s is not None
    assert due_s <= first_s + LONGEST_DELAY_S
    assert due_s >= last_s + QUIET_PERIOD_S or due_s == first_s + LONGEST_DELAY_S
    assert due_s in {last_s + QUIET_PERIOD_S, first_s + LONGEST_DELAY_S}


@given(TIMES)
def test_a_scan_that_has_begun_sees_all_that_came_before(times_ms: list[int]) -> None:
    assert after(times_ms).scanned() == NOTHING
    assert after(times_ms).scanned().due_s is None


@given(TIMES, st.integers(5000, 9000))
def test_an_event_after_the_scan_began_is_a_new_first_one(times_ms: list[int], later_ms: int) -> None:
    assert after([later_ms], after(times_ms).scanned()) == after([later_ms])


def test_without_an_event_nothing_is_due() -> None:
    assert NOTHING.due_s is None


def test_the_80_events_of_16_vfs_are_one_scan() -> None:
    burst_ms = [6 * n for n in range(80)]
    assert after(burst_ms).due_s == burst_ms[-1] / 1000 + QUIET_PERIOD_S


def test_the_periods_are_the_schedules_own() -> None:
    schedule = replace(NOTHING, quiet_period_s=3.0, longest_delay_s=4.0)
    assert after([0], schedule).due_s == 3.0
    assert after([0, 2000], schedule).due_s == 4.0
