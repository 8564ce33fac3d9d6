"""The verdict on a PF: total, explained, slow to trust again, and never lost."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.health.evidence import BEATS, CounterSample, ProbeSample, of_pulse, of_reading, warnings
from qatdp.core.health.verdict import HOLD_S, TABLE, TRUSTED, Condition, Evidence, Health, Signal, judge, next_condition

BAD = {Signal.FATAL, Signal.GONE, Signal.HUNG, Signal.FAILED}
FOUND = [sign for sign in Signal if sign is not Signal.QUIET_ENOUGH]

evidence = st.builds(
    lambda sign, n: Evidence(sign, f"{sign} {n}", (n, n + 1)), st.sampled_from(FOUND), st.integers(0, 2)
)
looks = st.lists(st.tuples(st.floats(0, 5), st.lists(evidence, max_size=4)), max_size=30)


def after(*looks: Sequence[Signal], step_s: float = 1.0) -> Health:
    """Return the verdict after looks at a steady pace, each with these signs."""
    health = Health()
    for n, signs in enumerate(looks):
        health = judge(health, [Evidence(sign, f"{sign}", (n, n + 1)) for sign in signs], n * step_s)
    return health


def test_the_table_is_total_and_leads_nowhere_else() -> None:
    assert TABLE.keys() == set(Condition)
    for condition in Condition:
        for sign in Signal:
            assert next_condition(condition, sign) in Condition


def test_every_condition_can_be_reached_and_left_for_healthy() -> None:
    for start in Condition:
        seen, todo = {start}, [start]
        while todo:
            todo = [to for at in todo for to in TABLE[at].values() if to not in seen]
            seen |= set(todo)
        assert Condition.HEALTHY in seen
        if start is Condition.HEALTHY:
            assert seen == set(Condition)


@given(looks)
def test_recovery_is_reachable_from_wherever_it_got(story: list[tuple[float, list[Evidence]]]) -> None:
    health, now_s = Health(), 0.0
    for wait_s, found in story:
        now_s += wait_s
        health = judge(health, found, now_s)
    well = [
        Evidence(sign, "x")
        for sign in (Signal.PROBED, Signal.RESTARTED, Signal.UP, Signal.ALIVE, Signal.RESPONDS, Signal.ANSWERED)
    ]
    for _ in range(3):
        health = judge(health, well, now_s)
        now_s += HOLD_S
    assert judge(health, well, now_s).condition is Condition.HEALTHY


@given(looks)
def test_no_verdict_flaps_inside_the_hold_time(story: list[tuple[float, list[Evidence]]]) -> None:
    health, now_s, sick_s = Health(), 0.0, -HOLD_S
    for wait_s, found in story:
        now_s += wait_s
        health = judge(health, found, now_s)
        if health.condition in {Condition.FATAL, Condition.GONE, Condition.UNRESPONSIVE, Condition.FENCED}:
            sick_s = now_s
        assert not health.trusted or now_s - sick_s >= HOLD_S


@given(looks, st.randoms(use_true_random=False))
def test_the_order_of_what_is_found_at_once_changes_nothing(
    story: list[tuple[float, list[Evidence]]], chance: random.Random
) -> None:
    one = other = Health()
    now_s = 0.0
    for wait_s, found in story:
        now_s += wait_s
        shuffled = chance.sample(found, len(found))
        one, other = judge(one, found, now_s), judge(other, [*shuffled, *shuffled], now_s)
        assert one == other


@given(looks)
def test_every_verdict_but_health_has_its_evidence(story: list[tuple[float, list[Evidence]]]) -> None:
    health, now_s = Health(), 0.0
    for wait_s, found in story:
        now_s += wait_s
        before, health = health, judge(health, found, now_s)
        assert (health.reason is None) == (health.condition is Condition.HEALTHY)
        if health.condition is not before.condition and health.reason:
            assert any(one.text in health.reason for one in found) or "failed twice" in health.reason


def test_what_speaks_against_a_pf_counts_after_what_speaks_for_it() -> None:
    assert after([Signal.FATAL], [Signal.RESTARTED, Signal.FATAL]).condition is Condition.FATAL
    assert after([Signal.HUNG], [Signal.ANSWERED, Signal.GONE]).condition is Condition.GONE
    assert after([Signal.DOWN], [Signal.UP, Signal.FATAL]).condition is Condition.FATAL
    assert after([Signal.GONE], [Signal.RESPONDS, Signal.FATAL]).condition is Condition.FATAL


@pytest.mark.parametrize("first", range(20))
def test_of_heartbeats_that_failed_at_once_the_lowest_count_is_the_first(first: int) -> None:
    both = [Evidence(Signal.FAILED, "failed", (count, count + 1)) for count in (first + 1, first)]
    assert judge(Health(), both, 0.0).first_count == first


def test_all_that_was_found_of_one_sign_is_the_reason() -> None:
    found = [Evidence(Signal.FATAL, "ras 0 -> 1"), Evidence(Signal.FATAL, "aer 0 -> 1")]
    assert judge(Health(), found, 0.0).reason == "aer 0 -> 1; ras 0 -> 1"


def test_who_recovers_is_told_from_what_and_for_how_long_it_has_to_be_quiet() -> None:
    health = after([Signal.FATAL], [Signal.RESTARTED])
    assert health.reason == "restarted, and has yet to be quiet for 10 s (fatal)"
    assert health.cause == "fatal"


def test_a_heartbeat_that_failed_uncounted_is_suspect_as_well() -> None:
    health = judge(Health(), [Evidence(Signal.FAILED, "failed")], 0.0)
    assert (health.condition, health.first_count) == (Condition.SUSPECT, None)


def test_trust_comes_back_at_the_moment_of_the_look() -> None:
    health = after([Signal.FATAL], [Signal.RESTARTED])
    assert judge(health, [], 50.0) == Health(Condition.HEALTHY, 50.0)


def test_one_heartbeat_that_fails_is_none_two_are() -> None:
    assert after([Signal.FAILED]).trusted
    assert after([Signal.FAILED], [Signal.ALIVE]).condition is Condition.HEALTHY
    twice = after([Signal.UP], [], [], [Signal.FAILED], [Signal.FAILED])
    assert (twice.condition, twice.reason) == (Condition.UNRESPONSIVE, "heartbeat failed twice, queries_failed 3 -> 5")
    assert after([Signal.FAILED], [Signal.FAILED], [Signal.ALIVE]).condition is Condition.RECOVERING


def test_a_fatal_error_is_over_with_a_restart_and_a_quiet_time_only() -> None:
    for nothing in (Signal.ALIVE, Signal.RESPONDS, Signal.ANSWERED, Signal.UP):
        assert after([Signal.FATAL], *[[nothing]] * 100).condition is Condition.FATAL
    assert after([Signal.FATAL], [Signal.RESTARTED]).condition is Condition.RECOVERING
    assert after([Signal.FATAL], [Signal.DOWN], [Signal.UP], *[[Signal.UP]] * 9).condition is Condition.RECOVERING
    assert after([Signal.FATAL], [Signal.DOWN], [Signal.UP], *[[Signal.UP]] * 10).condition is Condition.HEALTHY
    assert after([Signal.FATAL], [Signal.DOWN], [Signal.UP], [Signal.FAILED]).condition is Condition.UNRESPONSIVE


def test_a_pf_that_is_taken_down_and_up_again_is_trusted_at_once() -> None:
    assert after([Signal.DOWN]).condition not in TRUSTED
    assert after([Signal.DOWN], [Signal.UP]).condition is Condition.HEALTHY


def test_pf_that_was_not_probed_yet_is_trusted_as_soon_as_it_was() -> None:
    assert not after([Signal.UNPROBED]).trusted
    assert after([Signal.UNPROBED], [Signal.PROBED]).condition is Condition.HEALTHY
    assert after([Signal.UNPROBED], [Signal.PROBED, Signal.FAILED]).condition is Condition.SUSPECT
    assert after([Signal.UNPROBED], [Signal.HUNG], [Signal.PROBED, Signal.ANSWERED]).condition is Condition.RECOVERING
    for sign in BAD - {Signal.FAILED} | {Signal.DOWN}:
        assert after([Signal.UNPROBED], [sign]) == after([Signal.UP], [sign])


def test_what_is_known_to_be_amiss_is_never_replaced_by_unprobed() -> None:
    assert {condition for condition in Condition if Signal.UNPROBED in TABLE[condition]} == {Condition.HEALTHY}


def test_a_reset_that_reading_the_heartbeat_caused_is_waited_for() -> None:
    health = after([Signal.FAILED], [Signal.DOWN])
    assert (health.condition, health.reason) == (Condition.RESTARTING, "down (failed)")


def test_the_hold_time_of_a_read_that_hung_begins_when_it_came_back() -> None:
    assert after([Signal.HUNG], *[[Signal.HUNG]] * 50, [Signal.ANSWERED]).condition is Condition.RECOVERING


# From what was read to evidence


def reading(state: str | None = "up", **counters: int) -> CounterSample:
    return CounterSample(state, counters, {})


def signs(before: CounterSample | None, now: CounterSample) -> set[Signal]:
    return {one.sign for one in of_reading(before, now)}


def test_what_is_counted_before_we_came_is_fatal_where_the_driver_counted_it() -> None:
    assert signs(None, reading(ras_fatal=1)) == {Signal.UP, Signal.FATAL}
    assert signs(None, reading(aer_fatal=1)) == {Signal.UP}
    assert signs(reading(aer_fatal=1), reading(aer_fatal=2)) == {Signal.UP, Signal.FATAL}


@pytest.mark.parametrize("severity", ["correctable", "nonfatal"])
def test_errors_that_are_not_fatal_are_no_evidence(severity: str) -> None:
    for source in ("ras", "aer"):
        before, now = (CounterSample("up", {f"{source}_{severity}": count}, {}) for count in (1, 9))
        assert signs(before, now) == {Signal.UP}
        assert bool(list(warnings(before, now))) == (severity == "nonfatal")


def test_counters_that_fall_are_a_restart_and_one_that_vanishes_is_not() -> None:
    assert signs(reading(ras_correctable=5), reading(ras_correctable=0)) == {Signal.UP, Signal.RESTARTED}
    assert signs(reading(ras_fatal=5), reading(state="down")) == {Signal.DOWN}
    assert signs(reading(aer_fatal=5), reading(aer_fatal=0)) == {Signal.UP}


def test_a_collision_of_two_readers_of_the_heartbeat_is_no_evidence() -> None:
    assert list(of_pulse(None, ProbeSample(alive=False, failed=(3, 3)))) == []
    assert list(of_pulse(None, ProbeSample(alive=False))) == []
    (found,) = of_pulse(None, ProbeSample(alive=False, failed=(3, 4)))
    assert (found.sign, found.text) == (Signal.FAILED, "heartbeat failed, queries_failed 3 -> 4")


def test_the_table_of_heartbeats_is_total() -> None:
    assert BEATS.keys() == set(product((True, False), repeat=3))


def beats(before: ProbeSample | None, now: ProbeSample) -> list[Signal]:
    return [one.sign for one in of_pulse(before, now)]


def test_a_failure_counted_for_another_reader_is_evidence_with_our_own() -> None:
    last = ProbeSample(alive=False, failed=(3, 3), sent=103)
    (found,) = of_pulse(last, ProbeSample(alive=False, failed=(4, 4), sent=104))
    assert (found.sign, found.counts) == (Signal.FAILED, (3, 4))
    assert beats(last, ProbeSample(alive=True, failed=(4, 4), sent=104)) == [Signal.ALIVE]
    assert beats(last, ProbeSample(alive=None, failed=(4, 4), sent=104)) == []
    assert beats(last, ProbeSample(alive=False, failed=(3, 3), sent=103)) == []


def test_a_count_of_failures_that_began_anew_counts_from_zero() -> None:
    last = ProbeSample(alive=True, failed=(3, 3), sent=103)
    assert beats(last, ProbeSample(alive=False, failed=(0, 0), sent=0)) == []
    (found,) = of_pulse(last, ProbeSample(alive=False, failed=(1, 1), sent=4))
    assert found.counts == (0, 1)


def test_an_answer_to_another_reader_tells_that_the_firmware_lives() -> None:
    last = ProbeSample(alive=False, failed=(3, 3), sent=103)
    assert beats(last, ProbeSample(alive=False, failed=(3, 3), sent=104)) == [Signal.ALIVE]
    assert beats(last, ProbeSample(alive=False, failed=(4, 4), sent=105)) == [Signal.FAILED]
    assert beats(last, ProbeSample(alive=False, failed=(3, 3), sent=None)) == []
    assert (
        beats(ProbeSample(alive=False, failed=(2, 3), sent=103), ProbeSample(alive=False, failed=(3, 3), sent=103))
        == []
    )


@dataclass
class Driver:
    """What adf_heartbeat.c counts: a check within one period of the one before is refused, and not counted."""

    alive: bool = True
    sent: int = 0
    failed: int = 0
    checked_s: float = -1.0

    def check(self, now_s: float) -> bool:
        if now_s - self.checked_s < 0.2:
            return False
        self.checked_s = now_s
        self.sent += 1
        self.failed += not self.alive
        return self.alive

    def pulse(self, now_s: float) -> ProbeSample:
        before, alive = self.failed, self.check(now_s)
        return ProbeSample(alive=alive, failed=(before, self.failed), sent=self.sent)


# Each second: whether the firmware is alive, and when others read the heartbeat, ours being read at the half.
seconds = st.lists(st.tuples(st.booleans(), st.lists(st.floats(0, 0.99), max_size=3)), max_size=20)


def judged(story: Sequence[tuple[bool, Sequence[float]]]) -> Iterator[Health]:
    driver, health, last = Driver(), Health(), None
    for second, (alive, others) in enumerate(story):
        driver.alive = alive
        for at_s in sorted(one for one in others if one < 0.5):
            driver.check(second + at_s)
        pulse = driver.pulse(second + 0.5)
        health, last = judge(health, of_pulse(last, pulse), second), pulse
        for at_s in sorted(one for one in others if one >= 0.5):
            driver.check(second + at_s)
        yield health


@given(seconds)
def test_readers_that_collide_never_make_a_living_pf_suspect(story: list[tuple[bool, list[float]]]) -> None:
    assert all(health.condition is Condition.HEALTHY for health in judged([(True, others) for _, others in story]))


@given(seconds, st.lists(st.floats(0, 0.99), max_size=3))
def test_no_reader_hides_a_dead_firmware_or_its_return(
    story: list[tuple[bool, list[float]]], others: list[float]
) -> None:
    *_, dead = judged([(True, []), *story, *[(False, others)] * 3])
    assert dead.condition is Condition.UNRESPONSIVE
    *_, back = judged([*story, *[(False, others)] * 3, *[(True, others)] * (int(HOLD_S) + 3)])
    assert back.condition is Condition.HEALTHY


def test_a_reader_just_before_us_hides_no_dead_firmware() -> None:
    found = [health.condition for health in judged([(True, [0.45]), *[(False, [0.45])] * 2, (True, [0.45])])]
    assert found == [Condition.HEALTHY, Condition.SUSPECT, Condition.UNRESPONSIVE, Condition.RECOVERING]


def test_all_ones_mean_that_it_is_gone() -> None:
    assert [one.sign for one in of_pulse(None, ProbeSample(config=b"\xff\xff\xff\xff"))] == [Signal.GONE]
    assert [one.sign for one in of_pulse(None, ProbeSample(config=b"\x86\x80\x40\x49", alive=True))] == [
        Signal.RESPONDS,
        Signal.ALIVE,
    ]


def test_evidence_says_what_was_read() -> None:
    assert list(of_reading(None, reading("down"))) == [Evidence(Signal.DOWN, "is down")]
    assert list(of_reading(None, reading(None))) == []
    assert list(of_reading(reading(ras_correctable=2), reading(ras_correctable=1))) == [
        Evidence(Signal.UP, "is up"),
        Evidence(Signal.RESTARTED, "its error counters restarted"),
    ]
    assert list(of_reading(None, reading(None, ras_fatal=2))) == [Evidence(Signal.FATAL, "errors_fatal is 2", (0, 2))]
    assert list(of_reading(reading(aer_fatal=1), reading(None, aer_fatal=3))) == [
        Evidence(Signal.FATAL, "aer_dev_fatal 1 -> 3", (1, 3))
    ]
    assert list(of_reading(reading(aer_fatal=1), reading(None))) == []


def test_a_counter_that_stays_appears_or_vanishes_is_no_evidence() -> None:
    assert signs(reading(), reading(aer_fatal=0, ras_correctable=0)) == {Signal.UP}
    assert signs(reading(aer_fatal=0, ras_correctable=0), reading()) == {Signal.UP}
    assert signs(reading(aer_fatal=1, ras_correctable=1), reading(aer_fatal=1, ras_correctable=1)) == {Signal.UP}


def test_a_warning_tells_what_was_counted_since() -> None:
    before, now = reading(ras_nonfatal=1, aer_nonfatal=2), reading(ras_nonfatal=3, aer_nonfatal=5)
    assert list(warnings(before, now)) == ["errors_nonfatal 1 -> 3", "aer_dev_nonfatal 2 -> 5"]
    assert list(warnings(now, now)) == list(warnings(None, now)) == list(warnings(before, reading())) == []
    assert list(warnings(reading(aer_nonfatal=2), now)) == ["aer_dev_nonfatal 2 -> 5"]


def test_a_pulse_says_what_was_found() -> None:
    assert list(of_pulse(None, ProbeSample(config=b"\xff\xff\xff\xff", state="up"))) == [
        Evidence(Signal.GONE, "its configuration space reads all ones")
    ]
    assert list(of_pulse(None, ProbeSample(config=b"\x86\x80", state="down", alive=True))) == [
        Evidence(Signal.RESPONDS, "its configuration space can be read again"),
        Evidence(Signal.DOWN, "is down"),
        Evidence(Signal.ALIVE, "its heartbeat is back"),
    ]
    (failed,) = of_pulse(None, ProbeSample(alive=False, failed=(3, 4)))
    assert failed.counts == (3, 4)
    assert list(of_pulse(None, ProbeSample(failed=(3, 4)))) == []
