"""What is to be thought of a PF, as a table: (condition, sign) -> condition, with the evidence as the reason.

A PF that was sick is not trusted before it was quiet for some time, so that no verdict flaps. Signs of one look come in
an order of their own, which makes the verdict independent of the order in which they were found: first what speaks for
the PF, then what speaks against it.

Sources: drivers/crypto/intel/qat/qat_common/adf_heartbeat.c, adf_aer.c, adf_gen4_ras.c. A fatal error is over with a
restart of the device alone; firmware that does not answer may come back by itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType

from qatdp.core.reasons import Defect, Reason, defect

HOLD_S = 10.0  # seconds without a fault before a PF is trusted again


class Condition(StrEnum):
    HEALTHY = "Healthy"
    UNPROBED = "Unprobed"  # its first probe has not come back yet
    SUSPECT = "Suspect"  # one heartbeat has failed
    UNRESPONSIVE = "Unresponsive"  # two have
    FATAL = "Fatal"  # it has counted a fatal error since it was started
    GONE = "Gone"  # its configuration space reads all ones: it has fallen off the bus
    FENCED = "Fenced"  # a read has not come back
    DOWN = "Down"  # taken down, and nothing was wrong before
    RESTARTING = "Restarting"  # down, and something was wrong before: in a reset perhaps
    RECOVERING = "Recovering"  # nothing is wrong any more, for less than the hold time


class Signal(StrEnum):
    """What a look can show, in the order in which it counts."""

    PROBED = "probed"  # a probe has come back
    RESTARTED = "restarted"  # counters have begun again
    UP = "up"
    ALIVE = "alive"  # the heartbeat was answered
    RESPONDS = "responds"  # the configuration space can be read
    ANSWERED = "answered"  # a read that was overdue has come back
    FAILED = "failed"  # the heartbeat was not answered, and the driver counted that
    UNPROBED = "unprobed"  # the first probe takes its time
    HUNG = "hung"  # a read is overdue
    GONE = "gone"
    FATAL = "fatal"
    DOWN = "down"
    QUIET_ENOUGH = "quiet-enough"  # judge's own: the hold time is over


_C, _S = Condition, Signal
# Where a condition is not named with a sign, the sign changes nothing.
_BAD: Mapping[Signal, Condition] = {_S.HUNG: _C.FENCED, _S.GONE: _C.GONE, _S.FATAL: _C.FATAL}
TABLE: Mapping[Condition, Mapping[Signal, Condition]] = MappingProxyType(
    {
        _C.HEALTHY: {**_BAD, _S.UNPROBED: _C.UNPROBED, _S.FAILED: _C.SUSPECT, _S.DOWN: _C.DOWN},
        # Nothing was wrong as far as is known, so that there is nothing to recover from.
        _C.UNPROBED: {**_BAD, _S.PROBED: _C.HEALTHY, _S.DOWN: _C.DOWN},
        _C.SUSPECT: {
            **_BAD,
            _S.ALIVE: _C.HEALTHY,
            _S.RESTARTED: _C.HEALTHY,
            _S.QUIET_ENOUGH: _C.HEALTHY,  # the heartbeat cannot be read any more
            _S.FAILED: _C.UNRESPONSIVE,
            _S.DOWN: _C.RESTARTING,  # reading the heartbeat has reset it, with auto_reset on
        },
        _C.UNRESPONSIVE: {
            _S.RESTARTED: _C.RECOVERING,
            _S.ALIVE: _C.RECOVERING,
            _S.GONE: _C.GONE,
            _S.FATAL: _C.FATAL,
            _S.DOWN: _C.RESTARTING,
        },
        _C.FATAL: {_S.RESTARTED: _C.RECOVERING, _S.DOWN: _C.RESTARTING},
        _C.GONE: {
            _S.RESTARTED: _C.RECOVERING,
            _S.RESPONDS: _C.RECOVERING,
            _S.FATAL: _C.FATAL,
            _S.DOWN: _C.RESTARTING,
        },
        _C.FENCED: {
            _S.ANSWERED: _C.RECOVERING,
            _S.GONE: _C.GONE,
            _S.FATAL: _C.FATAL,
            _S.DOWN: _C.RESTARTING,
        },
        # What is wrong while it is down shows once it is up: a PF in reset has no heartbeat and may read all ones.
        _C.DOWN: {_S.UP: _C.HEALTHY},
        _C.RESTARTING: {_S.UP: _C.RECOVERING},
        _C.RECOVERING: {
            **_BAD,
            _S.FAILED: _C.UNRESPONSIVE,
            _S.DOWN: _C.RESTARTING,
            _S.QUIET_ENOUGH: _C.HEALTHY,
        },
    }
)
TRUSTED = frozenset({_C.HEALTHY, _C.SUSPECT})
WAITING = frozenset({_C.SUSPECT, _C.RECOVERING})  # for the hold time to be over
_CAUSES = frozenset({_C.SUSPECT, _C.UNRESPONSIVE, _C.FATAL, _C.GONE, _C.FENCED})


@dataclass(frozen=True, slots=True, order=True)
class Evidence:
    """A sign, in words; `counts` are a counter's values before and after."""

    sign: Signal
    text: str
    counts: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict. `since_s` is when it came to be, on any one clock; `cause` what made it sick in the first place."""

    condition: Condition = Condition.HEALTHY
    since_s: float = 0.0
    reason: str | None = None
    cause: str | None = None
    first_count: int | None = None  # of the heartbeats that failed

    @property
    def trusted(self) -> bool:
        return self.condition in TRUSTED


def verdict(health: Health) -> Defect:
    """Return what a PF that is not trusted is to its VFs."""
    return defect(Reason(f"Pf{health.condition}"), evidence=health.reason)


def next_condition(condition: Condition, sign: Signal) -> Condition:
    return TABLE[condition].get(sign, condition)


def judge(health: Health, evidence: Iterable[Evidence], now_s: float, hold_s: float = HOLD_S) -> Health:
    """Return the verdict after a look; the same object where that changes nothing."""
    order = list(Signal)
    ordered = sorted(set(evidence), key=lambda one: (order.index(one.sign), one.text, one.counts or ()))
    for sign, same in groupby(ordered, key=lambda one: one.sign):
        health = _after(health, sign, tuple(same), now_s, hold_s)
    if health.condition in WAITING and now_s - health.since_s >= hold_s:
        return _after(health, Signal.QUIET_ENOUGH, (), now_s, hold_s)
    return health


def _after(health: Health, sign: Signal, evidence: tuple[Evidence, ...], now_s: float, hold_s: float) -> Health:
    condition = next_condition(health.condition, sign)
    if condition is health.condition:
        return health
    text = "; ".join(one.text for one in evidence)
    counts = next((one.counts for one in evidence if one.counts), None)
    if condition is Condition.UNRESPONSIVE and health.condition is Condition.SUSPECT and counts:
        text = f"heartbeat failed twice, queries_failed {health.first_count} -> {counts[1]}"
    found = Health(condition, now_s, text or None, text if condition in _CAUSES else health.cause)
    if condition is Condition.SUSPECT:
        return replace(found, first_count=counts[0] if counts else None)
    if condition is Condition.HEALTHY:
        return Health(condition, now_s)
    if condition is Condition.RESTARTING:
        return replace(found, reason=f"{text} ({health.cause})")
    if condition is Condition.RECOVERING:
        return replace(found, reason=f"{text}, and has yet to be quiet for {hold_s:g} s ({health.cause})")
    return found
