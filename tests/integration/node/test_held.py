"""Held is held: a VF that some pod may use stays in the list it was given from, whatever the configuration says now.

The kubelet crashes, or books twice, when such an ID leaves its list. Each holder here is one that is easily overlooked.
For each, the configuration renames the resource, lowers its limit and deselects the PF, all at once, and the daemon is
killed and started again; the VF must stay where it is until the pod is gone, and then leave.

What is in which list is the kubelet's word: the size of each list it took (its log) and the healthy IDs of each
resource (its checkpoint). The old resource has nothing left but the held device, so its size tells of that one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import vfio
from ground.books import read_books
from ground.configmap import ConfigMap
from ground.daemon import QATDP, UNGUARDED, Daemon
from ground.kubelet import ListTaken
from ground.node import CY, Node
from ground.pfs import pf_of
from ground.pods import ONCE, Container, Pod
from ground.probe import wait_for_another_round
from ground.waiting import throughout, until, until_equal

RENAMED = "qat.intel.com/renamed"

# How long a held device must be seen to stay; the release protocol is done with free ones before that.
STAYS_S = 5

# What all that is free may take to follow a configuration.
MOVES_S = 30


def configuration(name: str, pf: str, limit: int) -> str:
    return f"""\
version: 1
resources:
  - name: {name}
    services: [sym, asym]
    pfs: ["{pf}"]
    limit: {limit}
"""


@pytest.fixture
def pfs(node: Node) -> tuple[str, str]:
    """Two PFs of the same services: the one selected first, and the one selected afterwards."""
    first, second = sorted(pf for pf, services in node.services.items() if services == "sym;asym")
    return first, second


@pytest.fixture
def config(pfs: tuple[str, str], tmp_path: Path) -> ConfigMap:
    return ConfigMap(tmp_path / "config", configuration("cy", pfs[0], limit=16))


@pytest.fixture
def daemon(node: Node, config: ConfigMap, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The daemon with the first configuration, and the kubelet knows all 16 VFs of the first PF."""
    vfio.load()
    program = UNGUARDED if request.node.get_closest_marker("unguarded") else QATDP
    daemon = Daemon(node.kubelet, node.logs, request.node.name, config, program=program)
    daemon.start()
    daemon.wait_for_lists({CY: ListTaken(16, 16)})
    yield daemon
    node.pods.delete_all()
    daemon.close()


def test_the_vf_of_a_plain_init_container_stays_until_its_pod_is_gone(
    node: Node, daemon: Daemon, config: ConfigMap, pfs: tuple[str, str]
) -> None:
    """PodResources hides plain init containers, and nobody has the VF open once they ended."""
    init = Container("init", {CY: 1}, ONCE)
    pod = node.pods.put(Container(), init=[init], name="init-only")
    pod.wait("Running")
    assert not node.prove(pod, "init").failures
    held = check_given(pod, pfs)

    config.write(configuration("renamed", pfs[1], limit=2))
    check_held(node, daemon, held)
    daemon.kill()
    daemon.start()
    check_held(node, daemon, held)

    pod.delete()
    check_left(daemon, held)


def test_the_vf_of_a_pod_that_waits_for_its_network_stays_until_it_is_gone(
    node: Node, daemon: Daemon, config: ConfigMap, pfs: tuple[str, str]
) -> None:
    """The pod has no container yet, so nothing runs that could be asked."""
    with node.network.closed() as waits:
        pod = node.pods.put(Container(limits={CY: 1}), name="waiting", host_network=False)
        until("the pod waits for its network", lambda: waits(pod.name))
        held = check_given(pod, pfs)

        config.write(configuration("renamed", pfs[1], limit=2))
        check_held(node, daemon, held)
        daemon.kill()
        daemon.start()
        check_held(node, daemon, held)
        assert pod.status["phase"] == "Pending"

    pod.wait("Running")
    assert not node.prove(pod).failures  # what Allocate answered before all this is still true
    check_held(node, daemon, held)
    pod.delete()
    check_left(daemon, held)


def test_the_vf_of_an_allocate_answered_just_before_sigkill_stays_until_its_pod_is_gone(
    node: Node, daemon: Daemon, config: ConfigMap, pfs: tuple[str, str]
) -> None:
    """The next daemon has no memory of that answer, and finds another configuration."""
    before = set(read_books().holdings)
    pod = node.pods.put(Container(limits={CY: 1}), name="answered")
    # The kubelet writes the answer down within a millisecond or so; the container comes seconds later.
    until("an Allocate is answered", lambda: set(read_books().holdings) - before, every_s=0.001)
    daemon.kill()
    assert not pod.containers(), "the daemon was killed too late to prove anything"
    config.write(configuration("renamed", pfs[1], limit=2))
    daemon.start()
    held = check_given(pod, pfs)
    check_held(node, daemon, held)

    pod.wait("Running")
    assert not node.prove(pod).failures
    check_held(node, daemon, held)
    assert not wait_for_another_round(pod).failures
    pod.delete()
    check_left(daemon, held)


@pytest.mark.unguarded
def test_with_the_guard_taken_out_the_first_of_these_tests_fails(
    node: Node, daemon: Daemon, config: ConfigMap, pfs: tuple[str, str]
) -> None:
    with pytest.raises(AssertionError, match="all but the held device has moved"):
        test_the_vf_of_a_plain_init_container_stays_until_its_pod_is_gone(node, daemon, config, pfs)
    assert read_books().holdings, "the pod still has it"
    assert lists_around(daemon, "")["old"] == 0


def check_given(pod: Pod, pfs: tuple[str, str]) -> str:
    """Return the one VF that the kubelet gave this pod, which is of the PF selected first."""
    (device,) = read_books().held_by(pod.uid)
    assert pf_of(device) == pfs[0]
    return device


def check_held(node: Node, daemon: Daemon, device: str) -> None:
    """Wait until everything free has followed the configuration, then see the device stay in the old resource alone."""
    wanted = {"old": 1, "new": 2, "also offered": set(), "named by": {CY}}
    until_equal("all but the held device has moved", lambda: lists_around(daemon, device), wanted, timeout_s=MOVES_S)
    throughout("the held device stays", lambda: lists_around(daemon, device), wanted, duration_s=STAYS_S)
    since = node.kubelet.lists(daemon.since)
    assert all(taken.total for resource, taken in since if resource == CY), since  # nor was it away for a moment


def check_left(daemon: Daemon, device: str) -> None:
    """Wait until no list has the device; its PF is not selected, so it must not come up in the new resource."""
    wanted = {"old": 0, "new": 2, "also offered": set(), "named by": set()}
    until_equal("the device has left", lambda: lists_around(daemon, device), wanted)


def lists_around(daemon: Daemon, device: str) -> dict[str, object]:
    """Return the sizes of both resources' lists, what the old one offers but this device, and who names this device."""
    sizes = {resource: taken.total for resource, taken in daemon.lists().items()}
    books = read_books()
    return {
        "old": sizes.get(CY, 0),
        "new": sizes.get(RENAMED),
        "also offered": set(books.offered.get(CY, ())) - {device},
        "named by": set(books.resources_that_name(device)),
    }
