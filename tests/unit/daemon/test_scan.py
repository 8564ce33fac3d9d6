"""Look: what is bound after a scan, and what is not tried again."""

from collections.abc import Iterator

import pytest

from qatdp.core.config.model import Config
from qatdp.core.pools.binding import BindMode
from qatdp.daemon.scan import ScanAndBind
from qatdp.simulator.host.calls import FakeKernelCalls
from qatdp.simulator.host.node import FakeHost, fake_host


@pytest.fixture
def node() -> Iterator[FakeHost]:
    with fake_host() as node:
        yield node


def look(node: FakeHost, calls: FakeKernelCalls, mode: BindMode) -> ScanAndBind:
    return ScanAndBind(node.sysfs, node.dev, calls, mode)


def test_what_has_no_driver_is_bound_and_seen_as_bound(node: FakeHost) -> None:
    node.add_pf("0000:6b:00.0", vfs=2, vf_driver=None)
    seen = look(node, FakeKernelCalls(node), BindMode.FREE)(Config())
    assert [vf.driver for vf in seen.snapshot.vfs] == ["vfio-pci", "vfio-pci"]
    assert (len(seen.bound), seen.unbound) == (2, {})


def test_without_leave_nothing_is_written(node: FakeHost) -> None:
    node.add_pf("0000:6b:00.0", vfs=2, vf_driver=None)
    calls = FakeKernelCalls(node)
    look(node, calls, BindMode.NEVER)(Config())
    assert calls.written == []


def test_a_vf_taken_in_vain_is_not_taken_again_before_the_driver_is_loaded_anew(node: FakeHost) -> None:
    """Each try unbinds and binds, whose events lead to the next look."""
    (vf,) = node.vfs(node.add_pf("0000:3d:00.0", "c62x", vfs=1, vf_driver="c6xxvf"))
    calls = FakeKernelCalls(node)
    taking = look(node, calls, BindMode.TAKE)
    assert "denylist" in str(taking(Config()).unbound[vf])
    calls.written.clear()
    assert "denylist" in str(taking(Config()).unbound[vf])
    assert calls.written == []
    node.unload_driver("vfio-pci")
    assert "not loaded" in str(taking(Config()).unbound[vf])
    node.load_driver("vfio-pci", disable_denylist=True)
    assert taking(Config()).unbound == {}
    assert node.driver(vf) == "vfio-pci"
