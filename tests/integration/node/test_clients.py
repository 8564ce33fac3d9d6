"""Clients that are not ours reach just the VFs that their pods were given: DPDK and qatlib, as Debian has built them.

They run in pods without privilege: no root, no capability, seccomp. What was given is the kubelet's word (its
checkpoint); what was opened is strace's, and what a VF is for is the client's own.

Nothing here is a QAT device. VFIO is the kernel's, with all that it refuses; a VF's registers are memory, and what a
client asks the PF through them is answered from cfg_services by the double (tests/integration/guest/vf_double.c). So it
is shown that clients find their VFs, may open and map them, and take each for its service, and that no other comes into
reach. That a VF then serves a request is not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from ground import pfs
from ground.books import read_books
from ground.clients import USER, Run, dpdk, qatlib, runs
from ground.daemon import Daemon
from ground.node import CY, DC, Node
from ground.pods import Pod
from ground.probe import report

ADDRESS = r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"

# What each pod asks for, by the client it runs.
DPDK_LIMITS = {CY: 2, DC: 1}
QATLIB_LIMITS = {"cy": {CY: 2}, "dc": {DC: 1}, "both": {CY: 1, DC: 1}}

# How many instances qatlib makes of a VF's four ring pairs: a cy one takes an asymmetric and a symmetric pair.
INSTANCES = {CY: 2, DC: 4}


@dataclass(frozen=True, slots=True)
class Client:
    """A pod whose clients have run: what it was given by resource, and what they said by title."""

    given: Mapping[str, frozenset[str]]
    runs: Mapping[str, Run]

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset().union(*self.given.values())


@pytest.fixture(scope="module")
def pods(node: Node, daemon: Daemon) -> Mapping[str, Pod]:
    """The pods of all clients, running beside one another."""
    pods = {name: node.pods.put(qatlib(limits), name=f"qatlib-{name}") for name, limits in QATLIB_LIMITS.items()}
    for pod in pods.values():
        pod.wait("Running")
    foreign = min(_given(pods["both"])[CY])
    return {**pods, "dpdk": node.pods.put(dpdk(DPDK_LIMITS, foreign), name="dpdk")}


@pytest.fixture(scope="module")
def clients(node: Node, pods: Mapping[str, Pod]) -> Mapping[str, Client]:
    clients = {}
    for name, pod in pods.items():
        pod.wait("Running")
        clients[name] = Client(_given(pod), runs(pod))
        node.record.add(report(pod))
        node.record.add_runs(clients[name].runs.values())
    return clients


def _given(pod: Pod) -> Mapping[str, frozenset[str]]:
    return {one.resource: one.ids for one in read_books().holdings if one.pod_uid == pod.uid}


def _groups(addresses: frozenset[str]) -> frozenset[str]:
    return frozenset(pfs.group_node(address).name for address in addresses)


@pytest.mark.parametrize("name", ["dpdk", *QATLIB_LIMITS])
def test_the_client_has_no_privilege(clients: Mapping[str, Client], name: str) -> None:
    (limits,) = (run.text for title, run in clients[name].runs.items() if title.startswith("limits"))
    assert re.findall(r"^(\w+):\s+(\w+)", limits, re.M) == [
        ("Uid", str(USER)),
        ("CapEff", "0" * 16),
        ("NoNewPrivs", "1"),
    ]


def test_dpdk_probes_just_the_vfs_that_its_environment_names(clients: Mapping[str, Client]) -> None:
    client = clients["dpdk"]
    given = client.runs["given"]
    assert {resource: len(vfs) for resource, vfs in client.given.items()} == DPDK_LIMITS
    assert given.found(rf"Probe PCI driver: qat \(8086:4941\) device: ({ADDRESS}) ") == client.addresses
    assert given.found(rf"Created QAT SYM device ({ADDRESS})_qat_sym") == client.addresses, given.text


def test_dpdk_opens_just_the_groups_of_its_pod(clients: Mapping[str, Client]) -> None:
    assert clients["dpdk"].runs["given"].opened == _groups(clients["dpdk"].addresses)


def test_dpdk_does_not_get_at_a_vf_of_another_pod(clients: Mapping[str, Client]) -> None:
    """Its address can be seen in sysfs by all; its group has no node here."""
    foreign = clients["dpdk"].runs["foreign"]
    (address,) = foreign.found(rf"({ADDRESS}) not managed by VFIO driver, skipping")
    assert address in clients["both"].addresses
    assert foreign.found(r"Failed to open VFIO group (\d+)") == _groups(frozenset([address]))
    assert not foreign.opened
    assert "Probe PCI driver: qat" not in foreign.text


@pytest.mark.parametrize("name", QATLIB_LIMITS)
def test_qatlib_has_instances_of_just_the_services_that_its_pod_asked_for(
    clients: Mapping[str, Client], name: str
) -> None:
    client = clients[name]
    assert {resource: len(vfs) for resource, vfs in client.given.items()} == QATLIB_LIMITS[name]
    said = re.findall(r'"service": "(\w+)", "address": "([^"]+)"', client.runs["qatlib"].text)
    expected = [
        (resource.partition("/")[2], vf.partition(":")[2])
        for resource, vfs in client.given.items()
        for vf in vfs
        for _ in range(INSTANCES[resource])
    ]
    assert sorted(said) == sorted(expected), client.runs["qatlib"].text


@pytest.mark.parametrize("title", ["qatlib", "openssl"])
@pytest.mark.parametrize("name", QATLIB_LIMITS)
def test_what_uses_qatlib_opens_just_the_groups_of_its_pod(
    clients: Mapping[str, Client], name: str, title: str
) -> None:
    """qatlib reads no variable: it takes what it finds in /dev/vfio."""
    client = clients[name]
    assert client.runs[title].opened == _groups(client.addresses), client.runs[title].text
