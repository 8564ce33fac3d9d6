"""Counts what came of a churn: who had which VF, who had it open, and what was refused. Pure: times are arguments.

A pod lives from the answer to its admission until it is told to be gone. It has its VF open for as long as the file
`enable` says so, which can be longer: a moment where it ends by itself, seconds where it was deleted by force.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

QUIET_S = 1.0  # how long after a call of the plugin's no List is to begin
SOON_S = 2.0
LAGS_S = 5.0  # how long after a VF was closed the daemon may still take it for open: a tick, and a scan
LATE_S = 0.5  # a pod that closes its VF later than that after its end was kept from it by this machine
EXAMPLES = 10

ADDRESS = re.compile(r"\b[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b")
UID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
NONE_LEFT = "Available: "  # the manager's own refusal, for which it calls no plugin
# The manager's own words while a plugin registers again: up to 1.36 it drops the old registration first.
AWAY = ("no healthy devices present", "the client connection is closing", "has been stopped")


class Cause(StrEnum):
    """Who had a VF open that somebody else was given, or was not given."""

    LIVING = "a living pod"
    FORCED = "a pod deleted by force"
    CLOSING = "a pod that just ended"
    LATE = "a pod that this machine kept from closing"
    MOVING = "a VF that is on its way to another resource"
    NOBODY = "nobody"


@dataclass(slots=True)
class User:
    """A pod and its VF. None is what has not come yet."""

    name: str
    vf: str
    given_s: float
    forced: bool = False
    opened_s: float | None = None
    ended_s: float | None = None
    closed_s: float | None = None

    @property
    def has_it_open(self) -> bool:
        return self.opened_s is not None and self.closed_s is None

    def cause(self, now_s: float) -> Cause:
        """Return as whose this VF counts while it is open, or was."""
        if self.ended_s is None:
            return Cause.LIVING
        if self.forced:
            return Cause.FORCED
        open_s = (now_s if self.closed_s is None else self.closed_s) - self.ended_s
        return Cause.LATE if open_s > LATE_S else Cause.CLOSING

    def had_it_open(self, since_s: float) -> bool:
        """Return whether it had its VF open at that time or later."""
        return self.opened_s is not None and (self.closed_s is None or self.closed_s >= since_s)


@dataclass(slots=True)
class Tally:
    """`moving`: VFs change their resource meanwhile, so that the manager may have none left for a moment."""

    moving: bool = False
    admitted: int = 0
    restarts: int = 0
    double_bookings: int = 0
    given_open: Counter[Cause] = field(default_factory=Counter)  # by who had it open from before the admission on
    opened_by_two: Counter[Cause] = field(default_factory=Counter)  # by who else lived with it, or had it open
    refusals: Counter[Cause] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)  # of refusals, without what tells pods and VFs apart
    gaps_s: list[float] = field(default_factory=list)  # of double bookings: how long after the first
    again_soon: int = 0  # given within SOON_S of the time before, whose pod had ended
    examples: list[str] = field(default_factory=list)
    calls: list[tuple[float, float]] = field(default_factory=list)  # begin and end of each admission with a call
    users: defaultdict[str, list[User]] = field(default_factory=lambda: defaultdict(list))
    innocent_by_manager: int = 0  # refused by the device manager alone, which calls no plugin then
    absences_s: list[tuple[float, float]] = field(default_factory=list)  # from when to when it had no plugin
    _last: dict[str, User] = field(default_factory=dict)  # who was given a VF last

    @property
    def innocent(self) -> int:
        """How many were refused for nothing that anybody did."""
        return self.refusals[Cause.NOBODY] + self.refusals[Cause.CLOSING]

    @property
    def innocent_by_plugin(self) -> int:
        """How many of these the plugin refused; the others it was never called for."""
        return self.innocent - self.innocent_by_manager

    @property
    def open_in_two(self) -> int:
        """How often a VF with two living pods was open."""
        return self.given_open[Cause.LIVING] + self.opened_by_two[Cause.LIVING]

    def given(self, name: str, vfs: Iterable[str], began_s: float, ended_s: float) -> list[User]:
        """Note an admission, and judge it."""
        self.admitted += 1
        self.calls.append((began_s, ended_s))
        return [self._given(name, vf, began_s, ended_s) for vf in vfs]

    def _given(self, name: str, vf: str, began_s: float, ended_s: float) -> User:
        user, others = User(name, vf, ended_s), self._others(vf, began_s)
        last, self._last[vf] = self._last.get(vf), user
        if last and last.ended_s is not None and began_s - last.given_s < SOON_S:
            self.again_soon += 1
        if twice := [other for other in others if other.ended_s is None]:
            self.double_bookings += 1
            self.gaps_s.append(began_s - max(other.given_s for other in twice))
            has = "open" if any(other.has_it_open for other in twice) else "not open"
            self._note(f"{began_s:.3f} {vf}, {has}, of {twice[0].name} went to {name} as well")
        for other in others:
            if other.has_it_open and other.opened_s is not None and other.opened_s <= began_s:
                self.given_open[other.cause(began_s)] += 1
        self.users[vf] = [*others, user]
        return user

    def _others(self, vf: str, now_s: float) -> list[User]:
        """Return who has the VF, or had it open of late; whoever has not is forgotten."""
        return [one for one in self.users[vf] if one.ended_s is None or one.had_it_open(now_s - LAGS_S)]

    def refused(self, error: str, began_s: float, ended_s: float) -> Cause:
        """Note a refusal. The VFs that the plugin did not give are those that its error names."""
        named = set(ADDRESS.findall(error))
        if NONE_LEFT in error:
            named = set(self.users)
        else:
            self.calls.append((began_s, ended_s))
        cause = self._cause(named, began_s, ended_s, none_left=NONE_LEFT in error)
        self.refusals[cause] += 1
        is_away = any(words in error for words in AWAY)
        if (NONE_LEFT in error or is_away) and cause in (Cause.NOBODY, Cause.CLOSING):
            self.innocent_by_manager += 1
        if is_away:
            self._is_away(began_s, ended_s)
        self.texts[ADDRESS.sub("ADDRESS", UID.sub("UID", error))] += 1
        if cause in (Cause.NOBODY, Cause.CLOSING, Cause.LIVING):
            self._note(f"{began_s:.3f} refused, for {cause}: {error}")
        return cause

    def _is_away(self, began_s: float, ended_s: float) -> None:
        if self.absences_s and began_s - self.absences_s[-1][1] < SOON_S:
            began_s, _ = self.absences_s.pop()
        self.absences_s.append((began_s, ended_s))

    def _cause(self, vfs: Iterable[str], began_s: float, ended_s: float, *, none_left: bool) -> Cause:
        causes = {
            user.cause(ended_s)
            for vf in vfs
            for user in self._others(vf, began_s)
            if user.had_it_open(began_s - LAGS_S)
        }
        order: tuple[Cause, ...] = (Cause.FORCED, Cause.LATE, Cause.LIVING, Cause.CLOSING)
        if none_left:
            if self.moving:
                return Cause.MOVING
            order = (Cause.FORCED, Cause.LATE)  # living pods have theirs, which leaves no fewer than there should be
        return next((cause for cause in order if cause in causes), Cause.NOBODY)

    def opened(self, user: User, now_s: float) -> None:
        """Note that it has opened its VF; judge whether somebody else lives with that, or has it open."""
        user.opened_s = now_s
        for other in self.users[user.vf]:
            if other is not user and (other.ended_s is None or other.has_it_open):
                self.opened_by_two[other.cause(now_s)] += 1
                self._note(
                    f"{now_s:.3f} {user.vf} was opened by {user.name}, beside {other.name}, {other.cause(now_s)}"
                )

    def is_open(self, vf: str) -> bool:
        return any(user.has_it_open for user in self.users[vf])

    def _note(self, example: str) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


def near_calls(lists_s: Iterable[float], calls: Sequence[tuple[float, float]]) -> int:
    """Count the Lists that began during an admission with a call, or within QUIET_S of its begin.

    An admission begins before the call that it leads to: a plugin that counts from the call never comes too early.
    """
    ordered = sorted(calls)
    begins = [began for began, _ in ordered]
    longest_s = max((ended - began for began, ended in ordered), default=0.0)
    return sum(_is_near(at_s, ordered, begins, longest_s) for at_s in lists_s)


def _is_near(at_s: float, calls: Sequence[tuple[float, float]], begins: Sequence[float], longest_s: float) -> bool:
    first = bisect_left(begins, at_s - max(longest_s, QUIET_S))
    return any(at_s <= max(began + QUIET_S, ended) for began, ended in calls[first : bisect_right(begins, at_s)])


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of them lies; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
