"""Who has a VF open is told by its `enable`, and what cannot be read is not known to be open."""

import os

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.host.calls.abc import HostCalls
from qatdp.host.enabled import EnabledFunctions, EnabledNow
from qatdp.simulator.host.node import FakeHost

PF = "0000:6b:00.0"


@pytest.fixture
def vfs(host: FakeHost) -> tuple[PciAddress, ...]:
    host.add_pf(PF, vfs=3)
    return host.vfs(PF)


def test_a_vf_is_open_for_as_long_as_somebody_has_it(
    host: FakeHost, vfs: tuple[PciAddress, ...], calls: HostCalls
) -> None:
    opened = EnabledFunctions(host.sysfs, calls)
    assert opened(vfs) == frozenset()
    host.open_vf(vfs[1])
    assert opened(vfs) == {vfs[1]}
    assert opened(vfs[:1]) == frozenset()
    host.close_vf(vfs[1])
    assert opened(vfs) == frozenset()
    opened.close()


def test_a_vf_that_has_gone_is_not_open(host: FakeHost, vfs: tuple[PciAddress, ...], calls: HostCalls) -> None:
    opened = EnabledFunctions(host.sysfs, calls)
    for vf in vfs:
        host.open_vf(vf)
    assert opened(vfs) == set(vfs)
    host.close_vf(vfs[0])
    host.remove(vfs[0])
    assert opened(vfs) == set(vfs[1:])


def test_open_now_tells_each_time_what_is_so_then(
    host: FakeHost, vfs: tuple[PciAddress, ...], calls: HostCalls
) -> None:
    opened = EnabledNow(host.sysfs, calls)
    assert opened(vfs) == frozenset()
    host.open_vf(vfs[1])
    assert opened(vfs) == opened(vfs[1:]) == {vfs[1]}
    host.close_vf(vfs[1])
    assert opened(vfs) == frozenset()
    opened.close()


def test_open_now_does_not_count_what_cannot_be_read(
    host: FakeHost, vfs: tuple[PciAddress, ...], calls: HostCalls
) -> None:
    opened = EnabledNow(host.sysfs, calls)
    host.attribute(vfs[0], "enable", None)
    host.remove(vfs[1])
    host.open_vf(vfs[2])
    assert opened(vfs) == {vfs[2]}
    opened.close()


def test_open_now_keeps_few_files_open(host: FakeHost, vfs: tuple[PciAddress, ...], calls: HostCalls) -> None:
    opened = EnabledNow(host.sysfs, calls, kept=2)
    before = len(os.listdir("/proc/self/fd"))
    host.open_vf(vfs[0])
    for _ in range(2):
        assert opened(vfs) == {vfs[0]}
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    opened.close()
    assert len(os.listdir("/proc/self/fd")) <= before
