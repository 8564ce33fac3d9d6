"""What to do about a node that has nothing to offer: one sentence why, and one that helps. Pure."""

from dataclasses import dataclass

from qatdp.core.model.snapshot import Snapshot

DEVICES = "bus/pci/devices"
NO_DEVICES_HINT = (
    "lspci -d 8086::0b40 lists what the machine has: none where the BIOS has it off, and in a guest only what was "
    "passed into it"
)
NO_VFS_HINT = (
    "write how many to sriov_numvfs of each PF, or let qatdp provision or run --provision do it by the configuration's "
    "provision; a sriov_totalvfs that is 0 or missing means that SR-IOV is off in the BIOS"
)


@dataclass(frozen=True, slots=True)
class Advice:
    """Why there is nothing to offer, and what to do about it."""

    reason: str
    hint: str


def advice(snapshot: Snapshot) -> Advice | None:
    """Return what to say of a node without VFs; None where it has some, or where its devices could not be listed."""
    if snapshot.vfs or any(problem.where.endswith(DEVICES) for problem in snapshot.problems):
        return None
    if not snapshot.pfs:
        return Advice("no QAT device was found", NO_DEVICES_HINT)
    reason = f"{_count(len(snapshot.pfs))}, and no VF"
    missing = sorted({pf.family.module for pf in snapshot.pfs if pf.driver is None})
    if not missing:
        return Advice(reason, NO_VFS_HINT)
    without = sum(pf.driver is None for pf in snapshot.pfs)
    load = " and ".join(f"modprobe {module}" for module in missing)
    hint = f"{load} (if it is installed and not on a denylist), then {NO_VFS_HINT}"
    return Advice(f"{reason}; {_count(without)} without a driver", hint)


def _count(pfs: int) -> str:
    return "1 PF" if pfs == 1 else f"{pfs} PFs"
