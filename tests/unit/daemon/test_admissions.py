"""A checkpoint that the kubelet wrote for an admission proves what it must, and nothing that it need not."""

from pathlib import Path

import pytest

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.config.model import Config
from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import Fact, LedgerEntry, Step
from qatdp.daemon.admissions import Admissions
from qatdp.daemon.kubelet_state import KubeletState
from qatdp.daemon.state import DeviceState
from qatdp.daemon.timing import ReleaseTiming
from qatdp.kubelet.checkpoint import FILE
from qatdp.simulator.kubelet.checkpoint import dump
from qatdp.simulator.kubelet.ledger import Given

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
LEAVING, GRANTED = map(PciAddress.parse, ("0000:6b:00.1", "0000:70:00.1"))


class Admitting:
    """A node with one VF on its way out, the admissions on it, and a checkpoint that a test writes."""

    def __init__(self, folder: Path, step: Step) -> None:
        self.node = DeviceState(Config(), lambda _: None)
        self.now_s = 0.0
        self.node.clock = lambda: self.now_s
        self.node.ledger = {
            LEAVING: LedgerEntry(CY, step, self.node.moment()),
            GRANTED: LedgerEntry(DC, Step.AVAILABLE, self.node.moment()),
        }
        self.node.leaving.set()
        self._folder = folder
        self.admissions = Admissions(self.node, KubeletState(folder, folder), ReleaseTiming())

    def step(self) -> Step:
        return self.node.ledger[LEAVING].step

    def allocate(self, began: int | None = None) -> None:
        """Let a pod be granted a VF of the other resource."""
        began = self.node.call_began() if began is None else began
        self.node.allocated(DC, [str(GRANTED)], began)
        self.node.call_ended(began)

    def write(self, **devices: PciAddress) -> None:
        """Let the kubelet write that pods of these UIDs have these devices."""
        given = {
            uid: {
                "main": {CY if device == LEAVING else DC: Given({-1: (str(device),)}, api.ContainerAllocateResponse())}
            }
            for uid, device in devices.items()
        }
        new = self._folder / "new"
        new.write_bytes(dump(given, {}))
        new.rename(self._folder / FILE)


PROVED = {
    Step.QUIET: Step.RELEASED,
    Step.NOT_IN_PODS: Step.RELEASED,
    Step.LIST_RESENT: Step.RELEASED,
    Step.CORDONED: Step.WITHDRAWN,
    Step.HELD: Step.AVAILABLE,
}


@pytest.mark.parametrize("step", PROVED)
async def test_admission_proves_that_nobody_has_what_it_does_not_name(folder: Path, step: Step) -> None:
    ledger = Admitting(folder, step)
    ledger.allocate()
    ledger.write(new=GRANTED)
    await ledger.admissions.look()
    assert ledger.step() is PROVED[step]


async def test_admission_proves_nothing_before_its_checkpoint(folder: Path) -> None:
    ledger = Admitting(folder, Step.QUIET)
    ledger.write(old=GRANTED)  # by an earlier pod that had the same VF
    ledger.allocate()
    await ledger.admissions.look()
    assert ledger.step() is Step.QUIET


async def test_checkpoint_without_the_granted_proves_nothing(folder: Path) -> None:
    ledger = Admitting(folder, Step.QUIET)
    ledger.allocate()
    ledger.write()  # for a list, between the choice and the answer's arrival
    await ledger.admissions.look()
    assert ledger.step() is Step.QUIET
    ledger.write(new=GRANTED)
    await ledger.admissions.look()
    assert ledger.step() is Step.RELEASED


async def test_admission_that_began_before_the_step_proves_nothing(folder: Path) -> None:
    ledger = Admitting(folder, Step.SEEN_BY_KUBELET)
    began = ledger.node.call_began()
    ledger.node.learn(Fact.IDLE, [LEAVING], ledger.node.moment())
    ledger.allocate(began)
    ledger.write(new=GRANTED)
    await ledger.admissions.look()
    assert ledger.step() is Step.QUIET


async def test_checkpoint_that_names_an_id_keeps_it(folder: Path) -> None:
    ledger = Admitting(folder, Step.QUIET)
    ledger.allocate()
    ledger.write(new=GRANTED, other=LEAVING)
    await ledger.admissions.look()
    assert ledger.step() is Step.CORDONED


async def test_unreadable_checkpoint_proves_nothing(folder: Path) -> None:
    ledger = Admitting(folder, Step.QUIET)
    ledger.allocate()
    (folder / FILE).write_text("{")
    await ledger.admissions.look()
    assert ledger.step() is Step.QUIET


async def test_last_of_many_admissions_counts(folder: Path) -> None:
    ledger = Admitting(folder, Step.QUIET)
    for _ in range(200):
        ledger.allocate()
        ledger.write(new=GRANTED)
    await ledger.admissions.look()
    assert ledger.step() is Step.RELEASED


async def test_admission_is_not_noted_while_nothing_is_to_leave(folder: Path) -> None:
    ledger = Admitting(folder, Step.HELD)
    ledger.node.leaving.clear()
    ledger.allocate()
    ledger.write(new=GRANTED)
    await ledger.admissions.look()
    assert ledger.step() is Step.HELD
