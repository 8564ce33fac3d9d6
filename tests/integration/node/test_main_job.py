"""The main job on a real node: VFs of real PFs reach real pods, each VF one pod at a time, and stay with them.

The tests build on one another's pods, in the order they stand here: so does a node's life.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from ground import pfs, vfio
from ground.books import read_books
from ground.daemon import Daemon
from ground.kubelet import ListTaken
from ground.node import CY, DC, Node
from ground.pods import NAMES, Container, Pod
from ground.probe import Report, names, report, wait_for_another_round
from ground.waiting import throughout, until, until_equal

ALL_HEALTHY = {CY: ListTaken(32, 32), DC: ListTaken(32, 32)}


@dataclass(frozen=True, slots=True)
class Proved:
    """A pod that runs, and what its container's probe said first."""

    pod: Pod
    report: Report


# The pods of all tests that should run, with what they asked for.
Requests: TypeAlias = dict[str, dict[str, int]]
REQUESTS: Requests = {"two-cy": {CY: 2}, "one-dc": {DC: 1}, "one-of-each": {CY: 1, DC: 1}}


@pytest.fixture(scope="module")
def early_daemon(node: Node) -> Iterator[Daemon]:
    """The daemon on a node where nobody has loaded vfio-pci yet."""
    daemon = Daemon(node.kubelet, node.logs, "main-job")
    daemon.start()
    yield daemon
    node.pods.delete_all()
    daemon.close()


@pytest.fixture(scope="module")
def daemon(early_daemon: Daemon) -> Daemon:
    """The daemon after vfio-pci came, and the kubelet knows all its devices."""
    vfio.load()
    early_daemon.wait_for_lists(ALL_HEALTHY)
    return early_daemon


@pytest.fixture(scope="module")
def proved(node: Node, daemon: Daemon) -> dict[str, Proved]:
    """The pods of REQUESTS, running."""
    pods = {name: node.pods.put(Container(limits=limits), name=name) for name, limits in REQUESTS.items()}
    for pod in pods.values():
        pod.wait("Running")
    return {name: Proved(pod, node.prove(pod)) for name, pod in pods.items()}


def test_without_vfio_pci_no_vf_is_healthy_and_the_log_names_the_module(early_daemon: Daemon) -> None:
    if vfio.loaded():
        pytest.fail("vfio-pci is loaded: run this file as a whole")
    until("the log names vfio-pci", lambda: "vfio-pci" in early_daemon.log())
    assert sum(taken.healthy for taken in early_daemon.lists().values()) == 0


def test_after_modprobe_the_daemon_binds_all_vfs_and_the_kubelet_advertises_them(node: Node, daemon: Daemon) -> None:
    by_service = {
        resource: {vf for pf, services in node.services.items() if services == wanted for vf in pfs.vf_addresses(pf)}
        for resource, wanted in ((CY, "sym;asym"), (DC, "dc"))
    }
    assert {resource: len(vfs) for resource, vfs in by_service.items()} == {CY: 32, DC: 32}
    assert {pfs.driver_of(vf) for vfs in by_service.values() for vf in vfs} == {"vfio-pci"}
    offered = read_books().offered
    assert {resource: offered[resource] for resource in (CY, DC)} == by_service


@pytest.mark.parametrize("name", REQUESTS)
def test_the_container_opens_maps_and_resets_each_vf_that_its_environment_names(
    proved: dict[str, Proved], name: str
) -> None:
    report, limits = proved[name].report, REQUESTS[name]
    assert len(report.addresses) == sum(limits.values())
    for event in report.of("device"):
        assert "failed" not in event, event
        assert (event["vendor"], event["device"]) == ("8086", "4941")
        assert (event["mapped_bytes"], event["reset"], event["bar0_bytes"]) == (1 << 20, True, 0x4000)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_environment_has_one_qat_variable_a_vf_and_one_list_a_resource(
    proved: dict[str, Proved], name: str
) -> None:
    named = Counter[str]()
    for event in proved[name].report.of("device"):
        of_resource, of_kubevirt, of_device = sorted(event["variables"].split())  # PCID..., PCI_... and Q...
        assert re.fullmatch(r"QAT\d+", of_device), event
        assert of_kubevirt == of_resource.replace("PCIDEVICE", "PCI_RESOURCE")
        named.update([of_resource, of_device])
    expected = {
        f"PCIDEVICE_{re.sub('[./]', '_', resource).upper()}": count for resource, count in REQUESTS[name].items()
    }
    assert {variable: count for variable, count in named.items() if count > 1 or variable in expected} == expected


@pytest.mark.parametrize("name", REQUESTS)
def test_a_vf_of_another_is_out_of_the_containers_reach(proved: dict[str, Proved], name: str) -> None:
    (foreign,) = proved[name].report.of("foreign")
    assert (foreign["node"], foreign["device"]) == ("ENOENT", "ENODEV")


def test_each_address_comes_once_over_all_pods_and_under_its_services_resource(
    node: Node, proved: dict[str, Proved]
) -> None:
    assert max(Counter(address for one in proved.values() for address in one.report.addresses).values()) == 1
    for one in proved.values():
        for event in one.report.of("device"):
            resource = {"sym;asym": "CY", "dc": "DC"}[node.services[pfs.pf_of(event["address"])]]
            assert f"PCIDEVICE_QAT_INTEL_COM_{resource}" in event["variables"].split()


def test_a_pod_beyond_capacity_is_refused(node: Node, proved: dict[str, Proved]) -> None:
    pod = node.pods.put(Container(limits={CY: 30}), name="too-much")  # of 32, three are taken
    status = pod.wait("Failed")
    assert status["reason"] == "UnexpectedAdmissionError" or status["reason"].startswith("OutOf"), status
    pod.delete()


def test_a_deleted_pods_vfs_go_to_the_next_pod(node: Node, daemon: Daemon, proved: dict[str, Proved]) -> None:
    filler = node.pods.put(Container(limits={DC: 28}, command=NAMES), name="filler")
    filler.wait("Running")  # so that two of 32 are left
    got = []
    for _ in range(2):
        pod = node.pods.put(Container(limits={DC: 2}), name="turn")
        pod.wait("Running")
        got.append(node.prove(pod))
        pod.delete()
    filler.delete()
    assert [report.failures for report in got] == [(), ()]
    assert set(got[0].addresses) == set(got[1].addresses)


def test_pods_outlive_a_killed_daemon_and_no_new_pod_gets_their_vfs(
    node: Node, daemon: Daemon, proved: dict[str, Proved]
) -> None:
    before = _containers(proved)
    daemon.kill()
    throughout("the same containers run", lambda: _containers(proved), before, duration_s=3)
    daemon.start()
    daemon.wait_for_lists(ALL_HEALTHY)
    _check_untouched(proved, before)
    _check_new_pod(node, proved)


def test_pods_outlive_a_killed_kubelet_and_no_new_pod_gets_their_vfs(
    node: Node, daemon: Daemon, proved: dict[str, Proved]
) -> None:
    before = _containers(proved)
    since = len(node.kubelet.log())
    node.kubelet.kill()
    node.kubelet.start()
    until_equal("the daemon has registered again", lambda: dict(node.kubelet.lists(since)), ALL_HEALTHY)
    _check_untouched(proved, before)
    _check_new_pod(node, proved)


def test_pods_outlive_a_restarted_kubelet_and_a_daemon_that_was_stopped_meanwhile(
    node: Node, daemon: Daemon, proved: dict[str, Proved]
) -> None:
    before = _containers(proved)
    node.kubelet.stop()
    assert daemon.stop() == 0
    daemon.start()
    node.kubelet.start()
    daemon.wait_for_lists(ALL_HEALTHY)
    _check_untouched(proved, before)
    _check_new_pod(node, proved)


def _containers(proved: dict[str, Proved]) -> dict[str, object]:
    return {name: one.pod.containers() for name, one in proved.items()}


def _check_untouched(proved: dict[str, Proved], before: dict[str, object]) -> None:
    """Check that the same containers run, none was restarted, and each still reaches its devices."""
    until_equal("the same containers run", lambda: _containers(proved), before)
    for one in proved.values():
        assert not wait_for_another_round(one.pod).failures
        assert report(one.pod).of("device") == one.report.of("device")  # a restart would have begun again


def _check_new_pod(node: Node, proved: dict[str, Proved]) -> None:
    """Check that a pod that asks for all that is free gets it, and nothing of the others'."""
    pod = node.pods.put(Container(limits={CY: 29, DC: 30}, command=NAMES), name="new")
    pod.wait("Running")
    got = names(pod)
    assert len(got) == 59
    assert not got & {address for one in proved.values() for address in one.report.addresses}
    pod.delete()
