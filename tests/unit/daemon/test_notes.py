"""The log speaks of the node as a whole once per change."""

import logging
import resource
from collections.abc import Iterator

import pytest

from qatdp.core.model.snapshot import Snapshot
from qatdp.daemon.notes import Notes
from qatdp.host.calls.choose import host_calls
from qatdp.host.scanner import SysfsScanner
from qatdp.simulator.host.node import FakeHost, fake_host

PF = "0000:6b:00.0"


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with fake_host() as host:
        yield host


def scan(host: FakeHost) -> Snapshot:
    return SysfsScanner(host.sysfs, host.dev, host_calls()).scan()


def test_notes_tell_once_per_change_that_there_is_nothing(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    notes, empty = Notes(keeps_files=True), scan(host)
    host.add_pf(PF, vfs=0)
    without_vfs = scan(host)
    host.add_pf("0000:70:00.0", vfs=2)
    with_vfs = scan(host)
    for snapshot in (empty, empty, without_vfs, without_vfs, with_vfs, with_vfs, empty):
        notes.look(snapshot)
    reasons = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert reasons == ["no QAT device was found", "1 PF, and no VF", "no QAT device was found"]


@pytest.mark.parametrize(("keeps_files", "lines"), [(True, 1), (False, 0)])
def test_notes_tell_once_that_few_files_may_be_open(
    host: FakeHost, caplog: pytest.LogCaptureFixture, *, keeps_files: bool, lines: int
) -> None:
    host.add_pf(PF, vfs=2)
    notes, snapshot = Notes(keeps_files=keeps_files), scan(host)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256 + 9, hard))
    try:
        notes.look(snapshot)
        notes.look(snapshot)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    notes.look(snapshot)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * lines
    assert all(record.args[:2] == (265, 266) for record in caplog.records if isinstance(record.args, tuple))
