"""WatchdogCalls: bulk calls that go on when a read does not come back.

A call that asks about the whole node hangs as a whole, and in C nobody can tell where. So past its time the same is
asked again by single calls, of which each says what it is about to ask. One that does not come back is left behind in
its thread, and until it does nothing more is asked of what lies beside it: EAGAIN is the answer. Its PF is overdue.

Only what belongs to a PCI function is left behind: without the list of all of them there is nothing to go on with, and
that is waited for.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from qatdp.core.model.pci import PciAddress
from qatdp.host.calls import kernel_names
from qatdp.host.calls.abc import BulkCalls, BusDump, SingleCalls, Watch
from qatdp.host.calls.portable import BusReader, PortableWatch

T = TypeVar("T")
Shunned: TypeAlias = dict[Path, tuple[PciAddress, Path]]

# debugfs' folder of a PF: qat_<driver>_<address> (adf_dbgfs.c).
DEBUG_FOLDER = "qat_"


@dataclass(frozen=True, slots=True)
class WatchdogTiming:
    """Seconds that all may take together before the same is asked one by one, and that a single call may take then.

    `last_s`: what a call is given in addition, once this has found that its time is over, as this process may not have
    been let run meanwhile. A tick whose read blocks is seen after its period and the sum of the three at the latest.
    """

    bulk_s: float = 0.5
    single_s: float = 0.5
    last_s: float = 0.1


class WatchdogCalls:
    """Does what `bulk` does; `single` takes over where that hangs. Its calls may come from several threads."""

    def __init__(self, bulk: BulkCalls, single: SingleCalls, patience: WatchdogTiming = WatchdogTiming()) -> None:
        self.patience = patience
        self._bulk, self._single = bulk, single
        self._shunned: Shunned = {}  # by what is not asked: whose it is, and the read that has not come back
        self._lane: _Lane[BusDump] = self._new_lane()

    @property
    def overdue(self) -> Mapping[PciAddress, Path]:
        """Return the functions of which a read has not come back, and which read that is."""
        return dict(self._shunned.copy().values())

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        return self._lane.do(
            partial(self._bulk.read_bus, sysfs, dev), lambda calls: BusReader(calls, sysfs, dev).answers
        )

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        return _PatientWatch(self._bulk.watch(contents, present), self._new_lane(), contents, present)

    def _new_lane(self) -> "_Lane[T]":
        return _Lane(self._single, self.patience, self._shunned)


class _Lane(Generic[T]):
    """One of the two ways for the same question after the other. Used by one thread at a time."""

    def __init__(self, single: SingleCalls, patience: WatchdogTiming, shunned: Shunned) -> None:
        self._single, self._patience, self._shunned = single, patience, shunned
        self.bulk: Future[T] | None = None  # the last that was begun

    def do(self, bulk: Callable[[], T], singly: "Callable[[_Noting], T]") -> T:
        """Return what the bulk call returns, or the other where that hangs, or the last one still does."""
        candidates: list[Future[T]] = []
        if not self._shunned and (self.bulk is None or self.bulk.done()):
            self.bulk = _begin(bulk)
            candidates.append(self.bulk)
            wait(candidates, timeout=self._patience.bulk_s)
        while True:
            if done := next((one for one in candidates if one.done()), None):
                return done.result()
            calls = _Noting(self._single, self._shunned)
            attempt = _begin(partial(singly, calls))
            self._wait(calls, attempt, candidates)

    def _wait(self, calls: "_Noting", attempt: Future[T], candidates: list[Future[T]]) -> None:
        """Return once there is a result among the candidates, to which the attempt belongs unless it hangs."""
        candidates.append(attempt)
        while not any(one.done() for one in candidates):
            on = calls.on
            left_s = on.since_s + self._patience.single_s - time.monotonic()
            if left_s > 0 or on.of is None:
                wait(candidates, timeout=max(left_s, 0.01), return_when=FIRST_COMPLETED)
                continue
            wait(candidates, timeout=self._patience.last_s, return_when=FIRST_COMPLETED)
            if calls.on is on and not attempt.done():
                candidates.remove(attempt)
                self._leave(on.path, on.of, attempt)
                return

    def _leave(self, path: Path, of: PciAddress, attempt: Future[T]) -> None:
        """Leave a thread behind, and shun what it hangs in until it comes back."""
        # What lies in a folder is made by the same driver, with the same locks; beside a function's own attributes
        # lies all of it.
        shunned = path if _address(path.parent.name) else path.parent
        self._shunned.setdefault(shunned, (of, path))
        attempt.add_done_callback(lambda _: self._shunned.pop(shunned, None))


@dataclass(frozen=True, slots=True)
class _On:
    """What is being asked, since when; `of` None: of no PCI function, or nothing at all."""

    path: Path
    of: PciAddress | None
    since_s: float


class _Noting:
    """Single calls that say what they are on, and ask nothing of what is shunned."""

    def __init__(self, inner: SingleCalls, shunned: Mapping[Path, object]) -> None:
        self._inner, self._shunned = inner, shunned
        self.on = self._nothing = _On(Path(), None, time.monotonic())

    def read(self, path: Path) -> bytes:
        return self._ask(self._inner.read, path)

    def readlink_name(self, path: Path) -> str:
        return self._ask(self._inner.readlink_name, path)

    def listdir(self, path: Path) -> Sequence[str]:
        return self._ask(self._inner.listdir, path)

    def exists(self, path: Path) -> bool:
        try:
            return self._ask(self._inner.exists, path)
        except BlockingIOError:
            return False

    def _ask(self, call: Callable[[Path], T], path: Path) -> T:
        if path in self._shunned or path.parent in self._shunned:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
        self.on = _On(path, function_of(path), time.monotonic())
        try:
            return call(path)
        finally:
            self.on = self._nothing


class _PatientWatch:
    def __init__(
        self, bulk: Watch, lane: _Lane[Sequence[bytes | int | bool]], contents: Sequence[Path], present: Sequence[Path]
    ) -> None:
        self._bulk, self._lane = bulk, lane
        self._contents, self._present = contents, present

    def read(self) -> Sequence[bytes | int | bool]:
        return self._lane.do(self._bulk.read, lambda calls: PortableWatch(calls, self._contents, self._present).read())

    def close(self) -> None:
        """Let go of what is kept open, once nobody reads from it any more."""
        if self._lane.bulk is None:
            self._bulk.close()
        else:
            self._lane.bulk.add_done_callback(lambda _: self._bulk.close())


def function_of(path: Path) -> PciAddress | None:
    """Return the PCI function that a path tells of: the last address in it."""
    for name in reversed(path.parts):
        if address := _address(name):
            return address
    return None


def _address(name: str) -> PciAddress | None:
    return kernel_names.address(name.rpartition("_")[2] if name.startswith(DEBUG_FOLDER) else name)


def _begin(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread that nobody has to wait for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="bulk", daemon=True).start()
    return future
