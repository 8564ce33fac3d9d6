"""A VF by its own node and iommufd (`deviceNode: cdev`): make test-iommufd, as kernels of Debian have neither.

Such a node has a running number of its own, not the group's: VFIO takes the lowest that is free whenever a VF is bound
(vfio_init_device in drivers/vfio/vfio_main.c).
"""

import os
import stat
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from ground import pfs, vfio
from ground.configmap import ConfigMap
from ground.daemon import Daemon
from ground.given import Given, all_vfs, free_of, give
from ground.node import CY, DC, Node
from ground.pods import ONCE, Container
from ground.probe import first_report
from ground.view import View
from ground.waiting import throughout, until, until_equal

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import NodeKind
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import host_calls
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.enabled import EnabledFunctions
from qatdp.host.scanner import SysfsScanner

SYS, DEV = Path("/sys"), Path("/dev")
BY_CDEV = ("/probe", "cdev", "hold")
STAYS_S = 5

CONFIG = """\
version: 1
resources:
  - {name: cy, services: [sym, asym], deviceNode: cdev}
  - {name: dc, services: [dc], deviceNode: cdev}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ConfigMap:
    return ConfigMap(tmp_path_factory.mktemp("iommufd") / "config", CONFIG)


def test_each_vf_has_a_node_of_its_own_beside_its_groups(daemon: Daemon) -> None:
    implementations: tuple[HostCalls, ...] = (host_calls(), PortableCalls())
    assert implementations[0].name == "c"
    for calls in implementations:
        found = SysfsScanner(SYS, DEV, calls).scan().vfs
        assert sorted(str(vf.address) for vf in found) == sorted(all_vfs())
        for vf in found:
            group, own = vf.nodes
            assert (group.kind, group.path) == (NodeKind.GROUP, str(pfs.group_node(str(vf.address))))
            assert (own.kind, own.path) == (NodeKind.CDEV, str(pfs.device_node(str(vf.address))))
            assert all(stat.S_ISCHR(Path(node.path).stat().st_mode) and node.present for node in vf.nodes)


def test_a_container_uses_each_of_its_vfs_by_its_own_node_and_iommufd(node: Node, daemon: Daemon) -> None:
    pod = node.pods.put(Container(limits={CY: 2, DC: 1}, command=BY_CDEV), name="by-cdev")
    report = node.prove(pod)
    assert report.failures == ()
    assert len(report.addresses) == 3
    assert [f"/dev/vfio/{event['node']}" for event in report.of("device")] == [
        str(pfs.device_node(vf)) for vf in report.addresses
    ]
    assert all((event["mapped_bytes"], event["reset"]) == (1 << 20, True) for event in report.of("device"))
    (foreign,) = report.of("foreign")
    assert (foreign["node"], foreign["device"]) == ("ENOENT", "ENOTTY")
    pod.delete()


def test_it_is_given_no_node_of_a_group(node: Node, daemon: Daemon) -> None:
    pod = node.pods.put(Container(limits={CY: 1}, command=ONCE), name="by-group")
    (said,) = {(event["failed"], event["error"]) for event in first_report(pod).of("device")}
    assert said == ("open /dev/vfio/vfio", "ENOENT")
    pod.delete()


def test_a_vf_that_is_used_by_its_own_node_is_open_and_one_that_is_merely_opened_is_not(daemon: Daemon) -> None:
    """What a drain and a managing daemon go by. VFIO enables a device when it is bound to an iommufd (vfio_df_open)."""
    vf, opened = all_vfs()[0], EnabledFunctions(SYS, host_calls())
    address, own = PciAddress.parse(vf), pfs.device_node(vf)
    assert own and opened([address]) == frozenset()
    descriptor = os.open(own, os.O_RDWR)
    assert opened([address]) == frozenset()
    os.close(descriptor)
    with vfio.held(vf, by_cdev=True):
        assert opened([address]) == {address}
        with pytest.raises(OSError, match="busy"):
            os.open(pfs.group_node(vf), os.O_RDWR)
    until("it is no longer open", lambda: not opened([address]))
    opened.close()


def are_bound(pf: str) -> bool:
    return all(pfs.device_node(vf) for vf in pfs.vf_addresses(pf))


def exchange_numbers(given: Sequence[Given]) -> None:
    """Take the VFs of their PFs away, and have the daemon bind those first that had the higher numbers."""
    theirs = [pfs.pf_of(one.vf) for one in sorted(given, key=lambda one: int(one.node.name[4:]), reverse=True)]
    for pf in theirs:
        pfs.bring_down(pf)
    for pf in theirs:
        pfs.bring_up(pf)
        until(f"the VFs of {pf} are bound", partial(are_bound, pf))
    for one in given:
        assert one.owner != one.vf, f"{one.vf} has the node that it had before"


def test_pods_whose_vfs_have_other_numbers_are_started_no_more_and_nobody_gets_what_they_were_given(
    node: Node, daemon: Daemon, view: View
) -> None:
    given = give(node, CY, pfs.device_node), give(node, DC, pfs.device_node)
    exchange_numbers(given)
    until_equal("what is nobody's is offered", view.offered, free_of(given))
    until("the kubelet is to ask before a start", lambda: daemon.log().count("registered resource=") == 4)
    for one in given:
        one.pod.kill_container()
    until("starts are refused, with the reason", lambda: all(one.is_refused() for one in given))
    throughout("nothing of theirs runs", lambda: any(one.pod.containers() for one in given), False, duration_s=STAYS_S)
    for one in given:
        one.pod.delete()
    until_equal("all VFs are offered", view.offered, frozenset(all_vfs()))
    pod = node.pods.put(Container(limits={CY: 3, DC: 3}, command=BY_CDEV), name="again")
    report = node.prove(pod)
    assert len(report.addresses) == 6 and not report.failures
    pod.delete()
