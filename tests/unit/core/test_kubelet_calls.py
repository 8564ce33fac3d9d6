"""The kubelet counts as quiet only while no call is in flight, and only since the last one ended."""

from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.release.kubelet_calls import Calls

TIMES_S = st.floats(0, 1e6)


def test_calls_are_not_quiet_at_the_start() -> None:
    assert Calls(ended_s=5.0).quiet_for_s(5.0) == 0.0
    assert Calls(ended_s=5.0).quiet_for_s(6.5) == 1.5


def test_calls_are_never_quiet_while_one_is_in_flight() -> None:
    calls = Calls(0.0).began(1).began(2).ended(1, 3.0)
    assert calls.quiet_for_s(100.0) == 0.0
    assert calls.ended(2, 100.0).quiet_for_s(101.0) == 1.0


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=20), TIMES_S)
def test_calls_are_quiet_since_the_end_of_the_last(steps: list[tuple[int, bool]], now_s: float) -> None:
    calls, in_flight, ended_s = Calls(0.0), set[int](), 0.0
    for at_s, (moment, begins) in enumerate(steps):
        if begins:
            calls = calls.began(moment)
            in_flight.add(moment)
        else:
            calls, ended_s = calls.ended(moment, at_s), at_s
            in_flight.discard(moment)
    assert calls.quiet_for_s(now_s) == (0.0 if in_flight else max(now_s - ended_s, 0.0))


def test_calls_from_before_a_moment_are_told_from_later_ones() -> None:
    calls = Calls(0.0).began(3)
    assert calls.has_one_from_before(4)
    assert not calls.has_one_from_before(3)
    assert not calls.ended(3, 1.0).has_one_from_before(4)
