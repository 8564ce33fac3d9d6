"""How far a PF is can be read: which phase, for what, and who has what it waits for."""

from collections.abc import Collection

import pytest
from support.strategies import SLOTS, a_pf, a_snapshot, its_vfs

from qatdp.core.config.model import parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.progress import Phase, Progress, Users, progress, users_by_pf
from qatdp.core.provision.reconcile import ReconcileInput, repartition
from qatdp.core.release.protocol import Ledger, LedgerEntry, Step
from qatdp.core.status.report import DeviceReport, Holder

PF, OTHER = (a_pf(str(slot)) for slot in SLOTS[:2])
VFS = {pf.address: its_vfs(pf, 2) for pf in (PF, OTHER)}
NODE = a_snapshot([PF, OTHER], [vf for vfs in VFS.values() for vf in vfs])
CY = "qat.intel.com/cy"
BOTH = (PF.address, OTHER.address)
FAILED = "down: Device or resource busy"


def at(step: Step, *pfs: PciAddress) -> Ledger:
    return {vf.address: LedgerEntry(CY, step, 1, vf) for pf in pfs for vf in VFS[pf]}


def phases(ledger: Ledger, services: str = "dc", when: str = "idle", **of: Collection[PciAddress]) -> list[Phase]:
    return [one.phase for one in found(ledger, services, when, **of)]


def found(ledger: Ledger, services: str = "dc", when: str = "idle", **of: Collection[PciAddress]) -> list[Progress]:
    entry = {"split": [{"services": services.split(";")}], "when": when}
    config = parse_config({"version": 1, "provision": [entry]})
    now = ReconcileInput(NODE, config, config.provision[0], ledger, {}, **of)
    each = progress(repartition(now), now, dict.fromkeys(of.get("resting", ()), FAILED))
    return [each[pf] for pf in BOTH]


def test_each_stage_is_told() -> None:
    offered, held = at(Step.AVAILABLE, *BOTH), at(Step.HELD, *BOTH)
    assert phases(offered, "sym;asym") == [Phase.READY] * 2
    assert phases(offered) == [Phase.WITHDRAWING, Phase.QUEUED]
    assert phases({}, changing=BOTH) == [Phase.CONFIGURING] * 2
    assert phases(offered, resting=[PF.address]) == [Phase.BACKING_OFF, Phase.WITHDRAWING]
    assert phases(held) == [Phase.IN_USE] * 2
    assert phases(held, when="cordon") == [Phase.CORDONED, Phase.IN_USE]
    assert phases(held, when="cordon", given_back=[PF.address]) == [Phase.UNCORDONED, Phase.CORDONED]


def test_each_has_a_goal_and_what_is_not_done_may_have_a_reason() -> None:
    offered, held = at(Step.AVAILABLE, *BOTH), at(Step.HELD, *BOTH)
    assert found(offered, "sym;asym") == [Progress(Phase.READY, "asym;sym")] * 2
    assert found(offered, resting=[PF.address])[0] == Progress(Phase.BACKING_OFF, "dc", FAILED)
    waiting, _ = found(held)
    assert waiting.goal == "dc"
    assert "held" in str(waiting.why)


@pytest.mark.parametrize(
    ("of", "users", "words"),
    [
        (Progress(Phase.READY, "dc"), Users(), "Ready: dc"),
        (Progress(Phase.WITHDRAWING, "dc"), Users(), "Withdrawing, to become dc"),
        (
            Progress(Phase.BACKING_OFF, "dc", "down: Bad address"),
            Users(),
            "BackingOff, to become dc: down: Bad address",
        ),
        (Progress(Phase.IN_USE, "dc", "a VF is held"), Users(), "InUse, to become dc: a VF is held"),
        (Progress(Phase.IN_USE, "dc", "a VF is held"), Users(1), "InUse, to become dc: 1 VF held by pods"),
        (Progress(Phase.IN_USE, "dc", "two are held"), Users(2), "InUse, to become dc: 2 VFs held by pods"),
        (
            Progress(Phase.CORDONED, "dc"),
            Users(3, frozenset({"ns/two", "ns/one"})),
            "Cordoned, to become dc: 3 VFs held by ns/one, ns/two",
        ),
    ],
)
def test_it_is_told_in_words(of: Progress, users: Users, words: str) -> None:
    assert of.told(users) == words


def test_users_are_those_the_kubelet_names_and_those_of_the_books() -> None:
    nothing = dict.fromkeys(("services", "numa_node", "iommu_group", "driver", "node", "health", "reason"))
    devices = [
        DeviceReport(address, pf, resource=CY, hold=hold, holders=holders, **nothing)  # type: ignore[arg-type]
        for address, pf, hold, holders in (
            ("a", "one", "Held", (Holder("ns", "pod", "c"), Holder("ns", "pod", "d"))),
            ("b", "one", "Held", ()),
            ("c", "one", "Available", ()),
            ("d", "two", "Available", ()),
        )
    ]
    assert users_by_pf(devices) == {"one": Users(2, frozenset({"ns/pod"}))}
