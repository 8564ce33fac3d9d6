"""The line between crypto and compression moves while pods run: `qatdp run --manage` on real PFs, with a real kubelet.

The tests build on one another, in the order they stand here.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ground import pfs, vfio
from ground.books import read_books
from ground.configmap import ConfigMap
from ground.daemon import Daemon
from ground.kubelet import ListTaken
from ground.node import CY, DC, Node
from ground.pods import NAMES, Container, Pod
from ground.probe import names, report, wait_for_another_round
from ground.waiting import throughout

CHURN_S = 60
VFS = 16  # of a PF


def wish(dc: int) -> str:
    """Return a configuration that wants so many of the four PFs for compression, and the others for crypto."""
    return f"""\
version: 1
provision:
  - split:
      - services: [dc]
        count: {dc}
      - services: [sym, asym]
"""


def lists(dc: int) -> dict[str, ListTaken]:
    """Return what the kubelet has taken when so many PFs are for compression, and all VFs are in order."""
    return {CY: ListTaken(VFS * (4 - dc), VFS * (4 - dc)), DC: ListTaken(VFS * dc, VFS * dc)}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ConfigMap:
    return ConfigMap(tmp_path_factory.mktemp("manage") / "config", wish(2))


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("locks")


@pytest.fixture(scope="module")
def daemon(node: Node, config: ConfigMap, locks: Path) -> Iterator[Daemon]:
    vfio.load()
    daemon = Daemon(node.kubelet, node.logs, "manage", config, options=("--manage", f"--lock-dir={locks}"))
    daemon.start()
    daemon.wait_for_lists(lists(dc=2))
    yield daemon
    node.pods.delete_all()
    daemon.close()
    pfs.configure({pf: services for pf, services in node.services.items() if pfs.services_of(pf) != services})


@pytest.fixture(scope="module")
def keeper(node: Node, daemon: Daemon) -> Pod:
    """A pod that has two VFs of one crypto PF and goes on proving them."""
    pod = node.pods.put(Container(limits={CY: 2}), name="keeper")
    pod.wait("Running")
    assert not node.prove(pod).failures
    return pod


class Churn:
    """Pods that come and go, each with one VF, until it is stopped. `ended` are those that were admitted and ran."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._over = threading.Event()
        self.ended = 0

    def run(self) -> None:
        for resource in itertools.cycle((CY, DC, DC)):
            if self._over.is_set():
                return
            pod = self._node.pods.put(Container(limits={resource: 1}, command=NAMES), name="churn")
            pod.wait("Running", "Succeeded")  # raises for one that was refused
            assert len(names(pod)) == 1
            pod.delete()
            self.ended += 1

    def stop(self) -> None:
        self._over.set()


def test_a_node_that_is_as_wished_is_left_alone(daemon: Daemon) -> None:
    assert "configured pf=" not in daemon.log()


def test_the_line_moves_to_and_fro_for_a_minute_while_pods_come_and_go(
    node: Node, daemon: Daemon, config: ConfigMap, keeper: Pod
) -> None:
    containers, churn = keeper.containers(), Churn(node)
    until_s = time.monotonic() + CHURN_S
    with ThreadPoolExecutor(1) as threads:
        churning = threads.submit(churn.run)
        try:
            for dc in itertools.cycle((3, 2)):
                config.write(wish(dc))
                daemon.wait_for_lists(lists(dc))
                if time.monotonic() > until_s and dc == 3:
                    break
        finally:
            churn.stop()
        churning.result()
    print(f"manage: {churn.ended} pods came and went, {daemon.log().count('outcome=changed')} PFs were changed")
    assert churn.ended >= 3
    assert keeper.containers() == containers
    assert not wait_for_another_round(keeper).failures


def test_a_pf_that_a_pod_uses_stays_until_the_pod_has_ended_and_then_changes_too(
    node: Node, daemon: Daemon, config: ConfigMap, keeper: Pod
) -> None:
    held = set(report(keeper).addresses)
    (pf,) = {pfs.pf_of(vf) for vf in held}
    config.write(wish(dc=4))
    daemon.wait_for_lists(lists(dc=3))
    throughout("it stays as it is", lambda: daemon.lists()[CY], ListTaken(VFS, VFS), duration_s=5)
    assert pfs.services_of(pf) == "sym;asym"
    assert f"a PF waits for its users pf={pf}" in daemon.log()
    assert not wait_for_another_round(keeper).failures
    keeper.delete()
    daemon.wait_for_lists({CY: ListTaken(0, 0), DC: ListTaken(64, 64)})
    assert pfs.services_of(pf) == "dc"
    assert set(read_books().offered[DC]) == {vf for one in node.services for vf in pfs.vf_addresses(one)}


def test_a_new_pod_gets_a_vf_for_compression_of_a_pf_that_was_for_crypto(node: Node) -> None:
    others = [pf for pf, services in node.services.items() if services == "dc"]
    was_dc = {vf for pf in others for vf in pfs.vf_addresses(pf)}
    # By policy a request gets VFs of the PF of the lowest address, where all else is equal; that was for crypto.
    pod = node.pods.put(Container(limits={DC: 2}), name="new")
    pod.wait("Running")
    assert not node.prove(pod).failures
    assert not set(report(pod).addresses) & was_dc
    pod.delete()


def test_of_two_daemons_one_writes_and_the_other_says_who_does(
    node: Node, daemon: Daemon, config: ConfigMap, locks: Path, tmp_path: Path
) -> None:
    # Without a kubelet, for whose resources the two would contend.
    options = ("--manage", f"--lock-dir={locks}", f"--kubelet-dir={tmp_path}")
    other = Daemon(node.kubelet, node.logs, "manage-too", config, options=options)
    other.start()
    try:
        config.write(wish(dc=2))
        daemon.wait_for_lists(lists(dc=2))
        assert "configures it since" in other.log()
        assert "configured pf=" not in other.log()
    finally:
        other.close()
