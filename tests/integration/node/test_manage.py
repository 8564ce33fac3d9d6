"""Live repartition while pods run: `qatdp run --provision` on real PFs, with a real kubelet.

The tests build on one another, in the order they stand here.
"""

import itertools
import re
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
from ground.faults import reset
from ground.kubelet import FOLDER, ListTaken
from ground.node import CY, DC, Node
from ground.pods import NAMES, Container, Pod
from ground.probe import names, report, wait_for_another_round
from ground.provisioning import Provisioning
from ground.recorder import Recorder
from ground.view import View
from ground.waiting import throughout, until
from ground.written import written

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
def recorder(node: Node) -> Iterator[Recorder]:
    recorder = Recorder(node.logs)
    recorder.start()
    yield recorder
    recorder.close()
    assert not recorder.violations()


@pytest.fixture(scope="module")
def daemon(node: Node, config: ConfigMap, locks: Path, recorder: Recorder) -> Iterator[Daemon]:
    vfio.load()
    options = ("--provision", f"--lock-dir={locks}", f"--kubelet-dir={recorder.folder}")
    daemon = Daemon(node.kubelet, node.logs, "manage", config, options=options)
    daemon.start()
    daemon.wait_for_lists(lists(dc=2))
    yield daemon
    node.pods.delete_all()
    daemon.close()
    pfs.configure({pf: services for pf, services in node.services.items() if pfs.services_of(pf) != services})


@pytest.fixture
def view(node: Node) -> Iterator[View]:
    view = View(node.record)
    yield view
    view.close()


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
    node: Node, daemon: Daemon, config: ConfigMap, keeper: Pod, recorder: Recorder
) -> None:
    """And at no moment, as the kubelet sees it, is one VF in two resources or one in use missing from its list."""
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
    print(f"manage: {churn.ended} pods came and went, {daemon.log().count('outcome=Changed')} PFs were changed")
    sent, allocations = recorder.passed()
    print(f"manage: {sent} lists and {allocations} allocations were seen on their way between daemon and kubelet")
    assert churn.ended >= 3
    assert allocations > churn.ended and sent > allocations
    assert not recorder.violations()
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
    assert f"PF in use, change postponed pf={pf}" in daemon.log()
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
    options = ("--provision", f"--lock-dir={locks}", f"--kubelet-dir={tmp_path}")
    other = Daemon(node.kubelet, node.logs, "manage-too", config, options=options)
    other.start()
    try:
        config.write(wish(dc=2))
        daemon.wait_for_lists(lists(dc=2))
        assert "configures it since" in other.log()
        assert "configured pf=" not in other.log()
    finally:
        other.close()


def test_beside_a_managing_daemon_provision_writes_nothing_and_says_who_does(
    daemon: Daemon, locks: Path, tmp_path: Path
) -> None:
    with written() as names:
        said = Provisioning(tmp_path, locks).run(0, kubelet=FOLDER)
    assert names == set()
    busy = [str(said.reasons[pf]) for pf, outcome in said.outcomes.items() if outcome == "Busy"]
    assert len(busy) >= 2
    # The checkpoint names a pod that has ended until the kubelet admits another one, and `provision` calls no List.
    named = {device for holding in read_books().holdings for device in holding.ids}
    for reason in busy:
        vf = reason.partition(" ")[0]
        by = "held by a pod" if vf in named else "offered by the kubelet"
        who = rf"is {by} as \S+; \S+ \(process {daemon.pid}, run\) configures it since \d{{4}}-"
        assert re.search(who, reason), reason


def test_a_pf_of_which_a_process_has_a_vf_stays_and_follows_once_it_is_let_go(
    daemon: Daemon, config: ConfigMap
) -> None:
    held = min(read_books().offered[CY])
    pf = pfs.pf_of(held)
    with vfio.held(held):
        config.write(wish(dc=4))
        # An open VF that no book names is in no list.
        daemon.wait_for_lists({**lists(dc=3), CY: ListTaken(VFS - 1, VFS - 1)})
        until("it was tried", lambda: f"configured pf={pf} outcome=Busy" in daemon.log())
        assert pfs.services_of(pf) == "sym;asym"
    daemon.wait_for_lists({CY: ListTaken(0, 0), DC: ListTaken(64, 64)})
    assert pfs.services_of(pf) == "dc"


def test_a_pf_that_was_reset_gets_its_vfs_back(node: Node, daemon: Daemon, view: View) -> None:
    """As old kernels do it: VFs go and are made again, on no driver."""
    pf, *_ = node.services
    everything, its = read_books().offered[DC], frozenset(pfs.vf_addresses(pf))
    for _ in range(2):
        what = "a PF was reset, and its VFs were bound again by the daemon"
        view.follows(what, lambda: reset(pf).wait(), everything, too=lambda: are_bound(pf), spared=its)


def test_a_reset_that_waits_for_a_pod_costs_that_pf_alone_until_the_pod_has_ended(
    node: Node, daemon: Daemon, view: View
) -> None:
    everything = read_books().offered[DC]
    pod = node.pods.put(Container(limits={DC: 1}), name="in-reset")
    pod.wait("Running")
    (vf,) = node.prove(pod).addresses
    pf = pfs.pf_of(vf)
    others = everything - frozenset(pfs.vf_addresses(pf))
    resetting = reset(pf)
    until("the daemon offers the others", lambda: view.offered() == others)
    beside = node.pods.put(Container(limits={DC: 4}), name="beside-a-reset")
    beside.wait("Running")
    assert not node.prove(beside).failures
    assert resetting.poll() is None, "it waits for the pod"
    pod.delete()
    resetting.wait(timeout=30)
    until("all are back", lambda: view.offered() == everything and are_bound(pf))
    beside.delete()


def are_bound(pf: str) -> bool:
    vfs = pfs.vf_addresses(pf)
    return len(vfs) == VFS and {pfs.driver_of(vf) for vf in vfs} == {"vfio-pci"}
