"""Signals: what was read of a PF, turned into evidence. Pure; host/tick.py and host/probe.py do the reading.

Correctable errors are numbers for the metrics and no evidence; one that is not fatal is a warning and no verdict.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qatdp.core.health import Evidence, Sign

RAS, AER = "ras", "aer"
SEVERITIES = ("correctable", "nonfatal", "fatal")
ALL_ONES = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Reading:
    """What can be read without waiting. `state` None: not known. Counters by names such as "ras_fatal".

    `unseen`: why a signal is not to be had, by its name.
    """

    state: str | None
    counters: Mapping[str, int]
    unseen: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What one probe found. `alive` None: the heartbeat could not be read, and `unseen` tells why.

    `failed` is the driver's count of unanswered heartbeats, before and after.
    """

    config: bytes | None = None
    state: str | None = None
    alive: bool | None = None
    failed: tuple[int, int] | None = None
    unseen: Mapping[str, str] | None = None


def of_reading(before: Reading | None, now: Reading) -> Iterator[Evidence]:
    """Yield what a reading shows, against the one before."""
    if now.state is not None:
        yield Evidence(Sign.UP if now.state == "up" else Sign.DOWN, f"is {now.state}")
    was: Mapping[str, int] = before.counters if before else {}
    # The driver counts from 0 at each start of the device (adf_sysfs_ras_counters.c).
    fallen = [key for key, count in now.counters.items() if key.startswith(RAS) and count < was.get(key, 0)]
    if fallen:
        yield Evidence(Sign.RESTARTED, "its error counters have begun anew")
    if fatal := now.counters.get("ras_fatal"):
        yield Evidence(Sign.FATAL, f"errors_fatal is {fatal}", (0, fatal))
    # The PCI core never begins anew, so that only what is added counts.
    if "aer_fatal" in was and now.counters.get("aer_fatal", 0) > was["aer_fatal"]:
        counts = (was["aer_fatal"], now.counters["aer_fatal"])
        yield Evidence(Sign.FATAL, f"aer_dev_fatal {counts[0]} -> {counts[1]}", counts)


def warnings(before: Reading | None, now: Reading) -> Iterator[str]:
    """Yield what is worth a line, and no verdict: a request was lost or damaged, the PF goes on."""
    for key, name in (("ras_nonfatal", "errors_nonfatal"), ("aer_nonfatal", "aer_dev_nonfatal")):
        was, count = before.counters.get(key) if before else None, now.counters.get(key)
        if was is not None and count is not None and count > was:
            yield f"{name} {was} -> {count}"


def of_pulse(pulse: Pulse) -> Iterator[Evidence]:
    """Yield what a probe shows.

    The driver answers "not alive" as well to who asks too soon after another reader, or while it restarts; it counts a
    failure only where the firmware did not answer (adf_heartbeat.c). Without that, it is no evidence at all.
    """
    if pulse.config is not None:
        if pulse.config.startswith(ALL_ONES):
            yield Evidence(Sign.GONE, "its configuration space reads all ones")
        else:
            yield Evidence(Sign.RESPONDS, "its configuration space can be read again")
    # Of the state only this counts: the tick, which is newer, may have seen it come up, and can be held up elsewhere.
    if pulse.state is not None and pulse.state != "up":
        yield Evidence(Sign.DOWN, f"is {pulse.state}")
    if pulse.alive:
        yield Evidence(Sign.ALIVE, "its heartbeat is back")
    elif pulse.alive is False and pulse.failed and pulse.failed[1] > pulse.failed[0]:
        before, after = pulse.failed
        yield Evidence(Sign.FAILED, f"heartbeat failed, queries_failed {before} -> {after}", pulse.failed)
