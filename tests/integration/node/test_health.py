"""Whatever happens to a PF or a VF, the kubelet's list follows, and node/run prints how soon: median (worst).

On real uevents and attributes, and on those of the driver double that it copies from the QAT driver. The tests build on
one another, in the order they stand here. Whatever was sick is quiet for ten seconds before it is offered again, which
its figures contain. Each is done a few times, or ROUNDS times, and what takes long a tenth as often: by portions (-k),
as a guest's time is limited.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
from ground import pfs
from ground.daemon import Daemon
from ground.faults import fault, faults, reset
from ground.node import DC, Node
from ground.pods import Container
from ground.view import View, rounds
from ground.waiting import until_equal

SEEN_S = 3.0  # within which a read that blocks is to be seen
ROUNDS, FEW, LONG = rounds(5), rounds(2), rounds(1, of=10)

BLOCKS = {
    "block_heartbeat": "heartbeat/status",  # which a probe reads alone
    "block_state": "qat/state",  # probe, tick and scan
    "block_ras": "qat_ras/errors_",  # the tick alone
}


@pytest.fixture(scope="module", autouse=True)
def pod_at_first(node: Node, daemon: Daemon) -> None:
    node.use_a_vf()


@dataclass(frozen=True, slots=True)
class Pfs:
    """The PFs in the order of their addresses, sym;asym and dc by turns; the VFs of each."""

    all: tuple[str, ...]
    vfs: dict[str, frozenset[str]]

    def but(self, *pfs: str) -> frozenset[str]:
        """Return the VFs of all other PFs."""
        return frozenset().union(*(vfs for pf, vfs in self.vfs.items() if pf not in pfs))


@pytest.fixture(scope="module")
def of(node: Node, daemon: Daemon) -> Pfs:
    found = tuple(sorted(node.services))
    return Pfs(found, {pf: frozenset(pfs.vf_addresses(pf)) for pf in found})


def test_a_vf_that_another_driver_has_and_that_comes_back(view: View, of: Pfs) -> None:
    vf = min(of.vfs[of.all[0]])
    pfs.bind(vf, "pci-stub")  # which loads it
    pfs.give(vf, "vfio-pci")
    until_equal("the VF is itself again", view.offered, of.but())
    for _ in range(ROUNDS):
        view.follows("a VF was given to another driver", lambda: pfs.give(vf, "pci-stub"), of.but() - {vf})
        view.follows("a VF was given back", lambda: pfs.give(vf, "vfio-pci"), of.but())


def test_a_vf_without_a_driver_is_bound_again(view: View, of: Pfs) -> None:
    vf = max(of.vfs[of.all[1]])
    for _ in range(ROUNDS):
        what = "a VF was unbound, and was bound again by the daemon"
        # A scan that ends just then sees it without a driver, and says so.
        bound = partial(_is_on_vfio, vf)
        view.follows(what, lambda: pfs.unbind(vf), of.but(), too=bound, spared=frozenset({vf}))


def test_a_pf_that_is_removed_and_found_again(view: View, of: Pfs) -> None:
    pf = of.all[0]
    for _ in range(FEW):
        view.follows("a PF was removed", lambda: pfs.remove(pf), of.but(pf))
        pfs.rescan()
        view.follows("a PF was found again, with VFs", lambda: pfs.set_vfs(pf, enabled=True), of.but())


def test_a_pf_that_goes_down_and_up(view: View, of: Pfs) -> None:
    pf = of.all[1]
    for _ in range(FEW + 1):
        view.follows("a PF went down", lambda: pfs.bring_down(pf), of.but(pf))
        view.follows("a PF came up, with VFs", lambda: pfs.bring_up(pf), of.but())


def test_all_64_vfs_that_are_made_anew(view: View, of: Pfs) -> None:
    def make(*, enabled: bool) -> None:
        for pf in of.all:
            pfs.set_vfs(pf, enabled=enabled)

    for _ in range(FEW):
        view.follows("64 VFs went", lambda: make(enabled=False), frozenset())
        view.follows("64 VFs were made", lambda: make(enabled=True), of.but())


def test_a_pf_that_is_reset(view: View, of: Pfs) -> None:
    """As old kernels do it, which take the VFs away and make them again."""
    pf = of.all[2]
    for _ in range(FEW):
        what = "a PF was reset, and its VFs were bound again by the daemon"
        view.follows(what, lambda: reset(pf).wait(), of.but(), too=partial(_are_on_vfio, pf), spared=of.vfs[pf])


def test_heartbeats_that_fail_and_a_fatal_error(view: View, daemon: Daemon, of: Pfs) -> None:
    silent, fatal, *_ = of.all
    with faults((silent, "force_heartbeat_fail")):
        for _ in range(LONG):
            told = len(daemon.log())
            failing = "firmware stopped answering"
            assert view.follows(failing, lambda: fault(silent, "force_heartbeat_fail", "Y"), of.but(silent)).done_s > 1
            view.follows("a fatal error was counted", lambda: fault(fatal, "ras_fatal", "1"), of.but(silent, fatal))
            log = daemon.log()[told:]
            assert f"pf={fatal} is=Fatal was=Healthy evidence='errors_fatal is 1'" in log
            assert f"pf={silent} is=Unresponsive was=Suspect evidence='heartbeat failed twice" in log
            pfs.bring_down(fatal)
            pfs.bring_up(fatal)  # over by a restart alone
            fault(silent, "force_heartbeat_fail", "N")
            back = view.follows("both are over, and ten seconds have passed", lambda: None, of.but())
            assert back.done_s > 9.0, "none is trusted before it was quiet"


@pytest.fixture
def blocked(view: View, of: Pfs) -> Iterator[dict[str, str]]:
    """The PFs whose reads are to block, by what blocks them; afterwards they do no more, and are trusted again."""
    blocked = dict(zip(BLOCKS, of.all, strict=False))
    with faults(*((pf, name) for name, pf in blocked.items())):
        yield blocked
    view.follows("three reads came back, and ten seconds have passed", lambda: None, of.but())


@pytest.mark.parametrize("_", range(LONG))
def test_reads_that_block_cost_their_own_pfs_and_nobody_else(
    node: Node, view: View, daemon: Daemon, of: Pfs, blocked: dict[str, str], _: int
) -> None:
    free = of.all[-1]
    for name, pf in blocked.items():
        wanted = view.offered() - of.vfs[pf]
        view.follows(f"{BLOCKS[name]} blocks", partial(fault, pf, name, "Y"), wanted, within_s=SEEN_S)
        assert f"{BLOCKS[name]}" in last_verdict(daemon, pf)
        assert "is=Fenced was=Healthy" in last_verdict(daemon, pf)
    for _ in range(min(FEW, 10)):
        view.follows("a PF went down while three block", lambda: pfs.bring_down(free), frozenset())
        view.follows("a PF came up while three block", lambda: pfs.bring_up(free), of.vfs[free])
    pod = node.pods.put(Container(limits={DC: 4}), name="also")
    pod.wait("Running")
    report = node.prove(pod)
    assert len(report.addresses) == 4 and set(report.addresses) <= of.vfs[free]
    assert not report.failures
    pod.delete()


def _is_on_vfio(vf: str) -> bool:
    return pfs.driver_of(vf) == "vfio-pci"


def _are_on_vfio(pf: str) -> bool:
    vfs = pfs.vf_addresses(pf)
    return len(vfs) == 16 and all(map(_is_on_vfio, vfs))


def last_verdict(daemon: Daemon, pf: str) -> str:
    return [line for line in daemon.log().splitlines() if f"pf={pf} is=" in line][-1]
