"""What an administrator does to PFs and VFs is seen, and the lists follow: on real uevents and real attributes."""

import re
from collections.abc import Iterator

import pytest
from ground import pfs, vfio
from ground.daemon import Daemon
from ground.kubelet import ListTaken
from ground.node import CY, DC, Node
from ground.waiting import until

ALL = {CY: ListTaken(32, 32), DC: ListTaken(32, 32)}


@pytest.fixture
def daemon(node: Node, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The daemon, with all VFs in the kubelet's lists; afterwards the PFs are as they were."""
    vfio.load()
    daemon = Daemon(node.kubelet, node.logs, request.node.name)
    daemon.start()
    daemon.wait_for_lists(ALL)
    yield daemon
    pfs.configure({pf: services for pf, services in node.services.items() if pfs.services_of(pf) != services})
    daemon.close()


@pytest.fixture
def crypto_pf(node: Node) -> str:
    return min(pf for pf, services in node.services.items() if services == "sym;asym")


def test_a_pf_with_other_services_takes_its_vfs_to_their_resource_and_back(daemon: Daemon, crypto_pf: str) -> None:
    pfs.configure({crypto_pf: "dc"})
    daemon.wait_for_lists({CY: ListTaken(16, 16), DC: ListTaken(48, 48)})
    pfs.configure({crypto_pf: "asym;sym"})  # the same set as before, in another order
    daemon.wait_for_lists(ALL)


def test_the_vfs_of_a_pf_that_goes_down_leave_and_come_back_with_it(daemon: Daemon, crypto_pf: str) -> None:
    pfs.bring_down(crypto_pf)
    daemon.wait_for_lists({CY: ListTaken(16, 16), DC: ListTaken(32, 32)})
    assert "generic" not in daemon.log()
    pfs.bring_up(crypto_pf)
    daemon.wait_for_lists(ALL)


def test_a_vf_that_lost_its_driver_is_bound_again(daemon: Daemon, crypto_pf: str) -> None:
    vf = pfs.vf_addresses(crypto_pf)[3]
    pfs.unbind(vf)
    until("it is bound again", lambda: pfs.driver_of(vf) == "vfio-pci")
    daemon.wait_for_lists(ALL)


def test_a_vf_that_somebody_gave_another_driver_is_unhealthy_until_it_is_given_back(
    daemon: Daemon, crypto_pf: str
) -> None:
    vf = pfs.vf_addresses(crypto_pf)[5]
    pfs.bind(vf, "pci-stub")
    daemon.wait_for_lists({CY: ListTaken(32, 31)})
    assert re.search(
        rf"resource={CY} is=Unhealthy reason=ForeignDriver message='driver pci-stub has it.* vfs={vf}\n", daemon.log()
    )
    pfs.bind(vf, "vfio-pci")
    daemon.wait_for_lists(ALL)
