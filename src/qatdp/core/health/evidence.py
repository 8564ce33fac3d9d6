"""Signals: what was read of a PF, turned into evidence. Pure; host/poller.py and host/probe.py do the reading.

Correctable errors are numbers for the metrics and no evidence; one that is not fatal is a warning and no verdict.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qatdp.core.health.verdict import Evidence, Signal

RAS, AER = "ras", "aer"
SEVERITIES = ("correctable", "nonfatal", "fatal")
ALL_ONES = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class CounterSample:
    """What can be read without waiting. `state` None: not known. Counters by names such as "ras_fatal".

    `unseen`: why a signal is not to be had, by its name.
    """

    state: str | None
    counters: Mapping[str, int]
    unseen: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProbeSample:
    """What one probe found. `alive` None: the heartbeat could not be read, and `unseen` tells why.

    `failed` is the driver's count of unanswered heartbeats, before and after; `sent` its count of all, read between
    the two, None where that cannot be read. Whoever reads the heartbeat is counted, not we alone.
    """

    config: bytes | None = None
    state: str | None = None
    alive: bool | None = None
    failed: tuple[int, int] | None = None
    unseen: Mapping[str, str] | None = None
    sent: int | None = None


# What a heartbeat shows: (it was answered to us, a failure was counted since our last probe, and an answer was)
# -> evidence. The driver refuses a check that comes within one heartbeat period of another reader's, with the same -1
# and without counting it (adf_hb_check_polling_freq in adf_heartbeat.c): then the other's check is the one that tells.
# Our own answer is the latest word. Of another's failure and another's answer, which came last is not known.
BEATS: Mapping[tuple[bool, bool, bool], Signal | None] = MappingProxyType(
    {
        (True, False, False): Signal.ALIVE,
        (True, False, True): Signal.ALIVE,
        (True, True, False): Signal.ALIVE,
        (True, True, True): Signal.ALIVE,
        (False, False, False): None,  # two readers have collided, or the PF restarts: that alone is no evidence
        (False, False, True): Signal.ALIVE,
        (False, True, False): Signal.FAILED,
        (False, True, True): Signal.FAILED,
    }
)


def of_reading(before: CounterSample | None, now: CounterSample) -> Iterator[Evidence]:
    """Yield what a reading shows, against the one before."""
    if now.state is not None:
        yield Evidence(Signal.UP if now.state == "up" else Signal.DOWN, f"is {now.state}")
    was: Mapping[str, int] = before.counters if before else {}
    # The driver counts from 0 at each start of the device (adf_sysfs_ras_counters.c).
    fallen = [key for key, count in now.counters.items() if key.startswith(RAS) and count < was.get(key, 0)]
    if fallen:
        yield Evidence(Signal.RESTARTED, "its error counters restarted")
    if fatal := now.counters.get("ras_fatal"):
        yield Evidence(Signal.FATAL, f"errors_fatal is {fatal}", (0, fatal))
    # The PCI core never begins again, so that only what is added counts.
    if "aer_fatal" in was and now.counters.get("aer_fatal", 0) > was["aer_fatal"]:
        counts = (was["aer_fatal"], now.counters["aer_fatal"])
        yield Evidence(Signal.FATAL, f"aer_dev_fatal {counts[0]} -> {counts[1]}", counts)


def warnings(before: CounterSample | None, now: CounterSample) -> Iterator[str]:
    """Yield what is worth a line, and no verdict: a request was lost or damaged, the PF goes on."""
    for key, name in (("ras_nonfatal", "errors_nonfatal"), ("aer_nonfatal", "aer_dev_nonfatal")):
        was, count = before.counters.get(key) if before else None, now.counters.get(key)
        if was is not None and count is not None and count > was:
            yield f"{name} {was} -> {count}"


def of_pulse(before: ProbeSample | None, pulse: ProbeSample) -> Iterator[Evidence]:
    """Yield what a probe shows, against the one before."""
    if pulse.config is not None:
        if pulse.config.startswith(ALL_ONES):
            yield Evidence(Signal.GONE, "its configuration space reads all ones")
        else:
            yield Evidence(Signal.RESPONDS, "its configuration space can be read again")
    # Of the state only this counts: the tick, which is newer, may have seen it come up, and can be held up elsewhere.
    if pulse.state is not None and pulse.state != "up":
        yield Evidence(Signal.DOWN, f"is {pulse.state}")
    if pulse.alive is not None:
        yield from _of_heartbeat(before or ProbeSample(), pulse, answered=pulse.alive)


def _of_heartbeat(before: ProbeSample, pulse: ProbeSample, *, answered: bool) -> Iterator[Evidence]:
    failures = _failures(before, pulse)
    sign = BEATS[answered, failures is not None, _others_were_answered(before, pulse)]
    if sign is Signal.FAILED and failures:
        yield Evidence(sign, f"heartbeat failed, queries_failed {failures[0]} -> {failures[1]}", failures)
    elif sign is Signal.ALIVE:
        yield Evidence(sign, "its heartbeat is back")


def _failures(before: ProbeSample, pulse: ProbeSample) -> tuple[int, int] | None:
    """Return the driver's count of failures at the last probe and now; None where it has not grown.

    It begins at 0 whenever the device is started (adf_heartbeat_init). Before our first probe everything is old.
    """
    if pulse.failed is None:
        return None
    first, now = pulse.failed
    last = before.failed[1] if before.failed else first
    since = last if last <= first else 0
    return (since, now) if now > since else None


def _others_were_answered(before: ProbeSample, pulse: ProbeSample) -> bool:
    """Return whether a check that was not ours has found the firmware alive since our last probe.

    Answers are what was sent and has not failed: at least so many now, and at most so many then, as `sent` is read
    after the first count of failures and before the second.
    """
    if pulse.failed is None or pulse.sent is None or before.failed is None or before.sent is None:
        return False
    then = before.sent - before.failed[0] if before.sent <= pulse.sent else 0  # else it has begun again
    return pulse.sent - pulse.failed[1] > then
