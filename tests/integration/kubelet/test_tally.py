"""What the churn counts: each fault is found where there is one, and none where there is none."""

import pytest
from churn.lives import Ages, life
from churn.tally import Cause, Tally, near_calls

VF, OTHER_VF = "0000:6b:00.1", "0000:6b:00.2"


def test_tally_counts_vf_of_two_living_pods() -> None:
    tally = Tally()
    tally.given("a", [VF], 0.0, 0.1)
    tally.given("b", [VF], 1.0, 1.1)
    assert (tally.double_bookings, tally.open_in_two, dict(tally.given_open)) == (1, 0, {})


def test_tally_counts_vf_given_while_living_pod_has_it_open() -> None:
    tally = Tally()
    (first,) = tally.given("a", [VF], 0.0, 0.1)
    tally.opened(first, 0.5)
    tally.given("b", [VF], 1.0, 1.1)
    assert (tally.double_bookings, tally.open_in_two) == (1, 1)


def test_tally_counts_double_booked_vf_opened_later() -> None:
    tally = Tally()
    (first,) = tally.given("a", [VF], 0.0, 0.1)
    tally.given("b", [VF], 1.0, 1.1)
    tally.opened(first, 2.0)
    assert (tally.double_bookings, tally.open_in_two, dict(tally.given_open)) == (1, 1, {})


@pytest.mark.parametrize(("forced", "cause"), [(True, Cause.FORCED), (False, Cause.CLOSING)])
def test_tally_says_whose_open_vf_was_given(*, forced: bool, cause: Cause) -> None:
    tally = Tally()
    (first,) = tally.given("a", [VF], 0.0, 0.1)
    first.forced = forced
    tally.opened(first, 0.5)
    first.ended_s = 0.9
    tally.given("b", [VF], 1.0, 1.1)
    assert (tally.double_bookings, dict(tally.given_open)) == (0, {cause: 1})


def test_tally_takes_ended_pods_vf_for_free() -> None:
    tally = Tally()
    (first,) = tally.given("a", [VF], 0.0, 0.1)
    tally.opened(first, 0.5)
    first.ended_s, first.closed_s = 0.8, 0.9
    (second,) = tally.given("b", [VF], 1.0, 1.1)
    tally.opened(second, 1.5)
    assert (tally.double_bookings, dict(tally.given_open), dict(tally.opened_by_two)) == (0, {}, {})


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (f"rpc error: {VF} is open", Cause.FORCED),
        (f"rpc error: {OTHER_VF} is open", Cause.NOBODY),
        ("requested number of devices unavailable. Requested: 1, Available: 0", Cause.FORCED),
    ],
)
def test_tally_says_why_pod_was_refused(error: str, cause: Cause) -> None:
    tally = Tally()
    (first,) = tally.given("a", [VF], 0.0, 0.1)
    first.forced, first.ended_s = True, 0.9
    tally.opened(first, 0.5)
    assert tally.refused(error, 1.0, 2.0) is cause
    assert tally.innocent == (cause is Cause.NOBODY)


def test_tally_counts_each_time_that_manager_has_no_plugin() -> None:
    tally = Tally()
    for at_s in (1.0, 1.1, 2.0, 9.0):
        tally.refused("no healthy devices present; cannot allocate", at_s, at_s + 0.5)
    assert (tally.innocent, tally.innocent_by_plugin, tally.absences_s) == (4, 0, [(1.0, 2.5), (9.0, 9.5)])


@pytest.mark.parametrize(("at_s", "near"), [(9.9, 0), (10.0, 1), (10.9, 1), (11.1, 0), (20.0, 1), (22.9, 1), (23.1, 0)])
def test_near_calls_counts_lists_in_and_just_after_calls(at_s: float, near: int) -> None:
    assert near_calls([at_s], [(20.0, 23.0), (10.0, 10.01)]) == near


def test_life_follows_from_seed_and_number() -> None:
    ages = Ages()
    assert life(1, 7, ages) == life(1, 7, ages)
    assert life(1, 7, ages) != life(2, 7, ages)
    assert 50 < sum(life(1, number, ages).forced for number in range(1000)) < 150
