"""Allocate refuses an open VF, and never a pod for what its own containers have open, on a whole kubelet.

Init containers, sidecars, restarts of a container and of the kubelet: each is a moment at which a VF is open that the
kubelet hands out, or hands over. Each VF here is really open, by the probe, and each refusal is counted.
"""

from collections.abc import Iterator

import pytest
from ground.daemon import Daemon
from ground.kubelet import ListTaken
from ground.node import CY, DC, Node
from ground.pods import ONCE, Container, Pod
from ground.probe import report, wait_for_another_round
from ground.waiting import until

ALL = {CY: ListTaken(32, 32), DC: ListTaken(32, 32)}


@pytest.fixture(autouse=True)
def no_refusal(node: Node, daemon: Daemon) -> Iterator[None]:
    """Nobody is refused, and no VF of a pod becomes Unhealthy."""
    yield
    assert "allocate refused" not in daemon.log()
    assert daemon.lists() == ALL
    node.pods.delete_all()


def run(node: Node, *containers: Container, init: tuple[Container, ...] = ()) -> Pod:
    pod = node.pods.put(*containers, init=init, name="open")
    pod.wait("Running")
    return pod


def address(node: Node, pod: Pod, container: str = "main") -> str:
    """Return the address of the one VF that a container was given, and has opened."""
    said = node.prove(pod, container)
    assert not said.failures
    (vf,) = said.addresses
    return vf


def test_sidecar_keeps_its_vf_open_beside_the_main_container(node: Node) -> None:
    pod = run(node, Container(limits={CY: 1}), init=(Container("sidecar", {CY: 1}, restarts=True),))
    assert address(node, pod, "sidecar") != address(node, pod)
    assert not wait_for_another_round(pod, "sidecar").failures


def test_init_container_hands_its_vf_over_to_the_main_container(node: Node) -> None:
    pod = run(node, Container(limits={CY: 1, DC: 1}), init=(Container("init", {CY: 1}, ONCE),))
    said = node.prove(pod)
    assert not said.failures
    assert {address(node, pod, "init")} < set(said.addresses)


def test_container_that_restarts_has_the_same_vf_again(node: Node) -> None:
    pod = run(node, Container(limits={CY: 1}))
    before = address(node, pod)
    pod.kill_container()
    until("the container runs again", lambda: pod.containers().get("main", ("", 0))[1] == 1)
    until("its probe has said all", lambda: len(report(pod).of("foreign")) == 2)
    assert not report(pod).failures
    assert set(report(pod).addresses) == {before}


def test_pod_goes_on_when_the_kubelet_restarts(node: Node, daemon: Daemon) -> None:
    pod = run(node, Container(limits={CY: 1, DC: 1}))
    assert not node.prove(pod).failures
    before = pod.containers()
    daemon.since = len(node.kubelet.log())
    node.kubelet.kill()
    node.kubelet.start()
    daemon.wait_for_lists(ALL)
    assert not wait_for_another_round(pod).failures
    assert pod.containers() == before
    beside = run(node, Container(limits={CY: 1}))
    assert address(node, beside) not in node.prove(pod).addresses
