"""`qatdp provision` on real PFs: what it makes of them, what it leaves alone, what becomes of it when it is cut short.

Each test begins by making the node as it needs it, for which the one before has done most.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from ground import pfs, vfio
from ground.daemon import Daemon
from ground.kubelet import FOLDER, ListTaken
from ground.node import CY, DC, Node
from ground.pods import Container
from ground.probe import wait_for_another_round
from ground.provisioning import (
    Provisioning,
    Seen,
    Stumble,
    compression_pf,
    crypto_pf,
    look,
    said,
    stopped_writer,
    writers,
)
from ground.waiting import until
from ground.written import written

DEADLINE_S = 30  # the command's own, for a step
ALL_CRYPTO, ALL_COMPRESSION = Counter({crypto_pf(): 4}), Counter({compression_pf(): 4})
HALF, QUARTER = Counter({crypto_pf(): 2, compression_pf(): 2}), Counter({crypto_pf(): 1, compression_pf(): 3})
WELL = {"Changed", "Unchanged"}


@pytest.fixture(scope="module")
def bare(node: Node) -> Iterator[None]:
    """PFs as their driver leaves them, with VFIO's modules loaded; afterwards they are as the other tests want them."""
    vfio.load()
    for pf in node.services:
        pfs.bring_to_default(pf)
    yield
    for pf in node.services:
        pfs.bring_to_default(pf)
    pfs.configure(node.services)


@pytest.fixture(scope="module")
def provisioning(bare: None, tmp_path_factory: pytest.TempPathFactory) -> Provisioning:
    return Provisioning(tmp_path_factory.mktemp("provision"))


def shape() -> Counter[Seen]:
    return Counter(look().values())


def crypto_pfs() -> list[str]:
    return [pf for pf, seen in look().items() if seen == crypto_pf()]


def test_beside_a_kubelet_what_a_pod_has_stays_and_the_rest_changes(node: Node, provisioning: Provisioning) -> None:
    provisioning.run(50)
    daemon = Daemon(node.kubelet, node.logs, "provision")
    daemon.start()
    try:
        daemon.wait_for_lists({CY: ListTaken(32, 32), DC: ListTaken(32, 32)})
        pod = node.pods.put(Container(limits={CY: 1}), name="keeps")
        pod.wait("Running")
        (vf,) = node.prove(pod).addresses
        beside_the_daemon = provisioning.run(0, kubelet=FOLDER)
        assert Counter(beside_the_daemon.outcomes.values()) == {"Busy": 2, "Unchanged": 2}
        free = next(pf for pf, outcome in beside_the_daemon.outcomes.items() if outcome == "Unchanged")
        pfs.bring_down(free)  # it has no VFs, so nobody has any
        assert provisioning.run(0, kubelet=FOLDER).outcomes[free] == "Changed"
        daemon.wait_for_lists({CY: ListTaken(32, 32), DC: ListTaken(32, 32)})
    finally:
        daemon.close()
    after_it = provisioning.run(0, kubelet=FOLDER)
    assert Counter(after_it.outcomes.values()) == {"Busy": 1, "Changed": 1, "Unchanged": 2}
    assert after_it.reasons[pfs.pf_of(vf)] == f"{vf} is held by a pod as {CY}"
    assert shape() == QUARTER
    assert not wait_for_another_round(pod).failures
    pod.delete()


def test_a_pf_with_an_open_vf_is_busy_until_it_is_let_go_and_the_others_are_done(provisioning: Provisioning) -> None:
    provisioning.run(50)
    first, second = crypto_pfs()
    held = pfs.vf_addresses(first)[7]
    with vfio.held(held):
        during = provisioning.run(0)
        assert (during.outcomes[first], during.outcomes[second]) == ("Busy", "Changed")
        assert during.reasons[first] == f"{held} is open: somebody uses it"
        assert during.took_s < DEADLINE_S
        assert shape() == QUARTER
    assert provisioning.run(0).outcomes[first] == "Changed"
    assert shape() == ALL_COMPRESSION


def test_a_vf_opened_between_check_and_write_fails_its_pf_in_time_and_once_let_go_a_run_mends_it(
    provisioning: Provisioning,
) -> None:
    """As in a container without device nodes: where there are some, the writer has the groups open itself."""
    provisioning.run(0)
    pf, other, *_ = pfs.pf_addresses()
    run = provisioning.start(50, "--deadline", "15", child=provisioning.stumbling(Stumble.HELD_UP, {pf: 1}))
    writer = until("the writer of one PF is held up", stopped_writer)
    with vfio.held(pfs.vf_addresses(pf)[0]):
        since = time.monotonic()
        os.kill(writer, signal.SIGCONT)
        during = said(run, since)
        assert (during.outcomes[pf], during.reasons[pf]) == (
            "Failed",
            "down: no answer within 15 s: see the kernel's log",
        )
        assert during.outcomes[other] == "Changed", "its VFs are made although another PF's cannot go"
        assert during.took_s < DEADLINE_S
        assert writer in writers(), "it waits in the kernel"
        assert provisioning.run(50).outcomes[pf] == "Busy"
    until("the writers have ended with their writes", lambda: not writers())
    assert provisioning.run(50).outcomes[pf] == "Changed"
    assert shape() == HALF


def test_of_two_at_once_one_writes_and_the_other_says_who_does(provisioning: Provisioning) -> None:
    provisioning.run(50)
    since, file = time.monotonic(), provisioning.locks / "locks/node.lock"
    writing = provisioning.start(100)
    until("it configures the node", lambda: f'"pid": {writing.pid},' in file.read_text(), every_s=0.01)
    writing.send_signal(signal.SIGSTOP)  # so that it is at it for as long as the other takes
    with written() as meanwhile:
        other = provisioning.run(0)
    writing.send_signal(signal.SIGCONT)
    assert "driver_override" not in meanwhile
    assert set(other.outcomes.values()) == {"Busy", "Unchanged"}
    busy = [reason for pf, reason in other.reasons.items() if other.outcomes[pf] == "Busy"]
    assert all(reason and f"(process {writing.pid}, provision) configures it since" in reason for reason in busy)
    assert Counter(said(writing, since).outcomes.values()) == {"Changed": 2, "Unchanged": 2}
    assert shape() == ALL_CRYPTO


def test_a_run_killed_midway_takes_its_writers_along_and_the_next_one_completes(provisioning: Provisioning) -> None:
    provisioning.run(100)
    run = provisioning.start(50)
    until("VFs have gone", lambda: any(not pfs.vf_addresses(pf) for pf in pfs.pf_addresses()), every_s=0.01)
    run.kill()
    run.communicate()
    until("its writers have ended", lambda: not writers())
    assert shape() not in (HALF, ALL_CRYPTO), "it was killed too late to prove anything"
    assert set(provisioning.run(50).outcomes.values()) <= WELL
    assert shape() == HALF


def test_a_writer_killed_at_a_write_leaves_a_pf_that_the_next_run_completes(provisioning: Provisioning) -> None:
    """At the second it is down, at the third it has its services, at the fifth it is up, at the ninth one VF is bound.

    Before the first it is untouched, and from the ninth on all is as there.
    """
    provisioning.run(0)
    places = dict(zip(pfs.pf_addresses(), (2, 3, 5, 9), strict=True))
    assert provisioning.killed(100, places).outcomes == dict.fromkeys(places, "Failed")
    down, with_services, up, bound = look().values()
    assert (down.state, down.services) == ("down", compression_pf().services)
    assert (with_services.state, with_services.services) == ("down", crypto_pf().services)
    assert (up.state, up.vfs) == ("up", 0)
    assert (bound.vfs, bound.nodes) == (16, 1)
    assert set(provisioning.run(100).outcomes.values()) == {"Changed"}
    assert shape() == ALL_CRYPTO
