"""Both implementations of HostCalls on the kernel's own sysfs, whose files go while they are open."""

import errno
import os
import threading
from pathlib import Path

import pytest
from ground import pfs

from qatdp.core.model.snapshot import Snapshot
from qatdp.host.calls.abc import GroupStatus, HostCalls
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.scanner import snapshot

SYS, DEV = Path("/sys"), Path("/dev")
ROUNDS = 20
CONTAINER = Path("/dev/vfio/vfio")
TYPE1V2, NO_SUCH = 3, 999  # VFIO's extensions


def same(c: HostCalls) -> Snapshot:
    """Claim that both get the same answers; return what these mean."""
    answers = c.read_bus(SYS, DEV)
    assert answers == PortableCalls().read_bus(SYS, DEV)
    return snapshot(answers, SYS, DEV)


def test_both_see_the_same_whatever_became_of_a_pf_and_its_vfs(c: HostCalls, pf: str) -> None:
    assert len(same(c).vfs) > 0
    first = pfs.vf_addresses(pf)[0]
    pfs.bind(first, "vfio-pci")
    bound = next(vf for vf in same(c).vfs if str(vf.address) == first)
    assert bound.on_vfio and bound.nodes[0].present
    pfs.bring_down(pf)
    down = next(one for one in same(c).pfs if str(one.address) == pf)
    assert down.is_down and down.services


def test_a_kept_attribute_that_went_with_its_driver_is_opened_anew(c: HostCalls, pf: str) -> None:
    state, descriptor = pfs.DEVICES / pf / "qat/state", os.open(pfs.DEVICES / pf / "qat/state", os.O_RDONLY)
    watches = [calls.watch((state,), (state,)) for calls in (c, PortableCalls())]
    assert [watch.read() for watch in watches] == [(b"up\n", True)] * 2
    (pfs.DRIVER / "unbind").write_text(pf)
    try:
        with pytest.raises(OSError, match="No such device"):  # what a descriptor gives that is only kept
            os.pread(descriptor, 1, 0)
        assert [watch.read() for watch in watches] == [(errno.ENOENT, False)] * 2
    finally:
        (pfs.DRIVER / "bind").write_text(pf)
        os.close(descriptor)
    assert [watch.read() for watch in watches] == [(b"up\n", True)] * 2
    pfs.bring_down(pf)
    assert [watch.read() for watch in watches] == [(b"down\n", True)] * 2
    for watch in watches:
        watch.close()


def test_while_vfs_come_and_go_each_scan_is_whole_and_then_the_same(c: HostCalls, pf: str) -> None:
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            pfs.bring_down(pf)
            pfs.bring_up(pf)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for calls in (c, PortableCalls()) * ROUNDS:
            snapshot(calls.read_bus(SYS, DEV), SYS, DEV)
    finally:
        done.set()
        thread.join()
    same(c)


def test_vfio_says_what_a_group_is_and_who_has_it_is_told_by_the_open(c: HostCalls, pf: str) -> None:
    first = pfs.vf_addresses(pf)[0]
    pfs.bind(first, "vfio-pci")
    group = next(Path(vf.nodes[0].path) for vf in same(c).vfs if str(vf.address) == first)
    for calls in (c, PortableCalls()):
        assert calls.vfio_version(CONTAINER) == 0
        assert [calls.vfio_extension(CONTAINER, number) for number in (TYPE1V2, NO_SUCH)] == [True, False]
        assert calls.vfio_group(group) == GroupStatus(viable=True, in_use=False)
        descriptor = os.open(group, os.O_RDWR)
        with pytest.raises(OSError, match="busy"):
            calls.vfio_group(group)
        os.close(descriptor)
