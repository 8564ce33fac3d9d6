"""Reasons: why a VF is not healthy, or not offered, as a code for programs and a message for people.

The core decides with codes and never compares a sentence. This is the only place where a code becomes English:
docs/troubleshooting.md has a paragraph for each, and tests/unit/core/test_reasons.py holds the messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Reason(StrEnum):
    """One per thing that an operator can do something about, as the reasons of Kubernetes' conditions are."""

    # Of the VF
    UNREADABLE = "Unreadable"
    NOT_PRESENT = "NotPresent"
    NO_DRIVER = "NoDriver"
    FOREIGN_DRIVER = "ForeignDriver"
    KERNEL_DRIVER = "KernelDriver"
    VFIO_NOT_LOADED = "VfioNotLoaded"
    BIND_FAILED = "BindFailed"
    NO_IOMMU_GROUP = "NoIommuGroup"
    GROUP_NOT_VIABLE = "GroupNotViable"
    NO_IOMMU_MODE = "NoIommuMode"
    NO_DEVICE_NODE = "NoDeviceNode"
    DEVICE_NODE_MISSING = "DeviceNodeMissing"
    # Of who has it
    STALE_ALLOCATION = "StaleAllocation"
    NODE_CLAIMED = "NodeClaimed"
    OTHER_PLUGIN = "OtherPlugin"
    HOLDERS_UNKNOWN = "HoldersUnknown"
    OPEN = "Open"
    # Of the configuration
    HOST_RESERVED = "HostReserved"
    GROUP_REPRESENTED = "GroupRepresented"
    NOT_SELECTED = "NotSelected"
    OVER_LIMIT = "OverLimit"
    # On its way
    WITHDRAWN = "Withdrawn"
    RELEASED = "Released"
    MOVING = "Moving"
    PF_RECONFIGURING = "PfReconfiguring"
    PLUGIN_NOT_READY = "PluginNotReady"
    # Of its PF
    PF_UNREADABLE = "PfUnreadable"
    PF_NO_SERVICES = "PfNoServices"
    PF_GIVEN_AWAY = "PfGivenAway"
    PF_FOREIGN_DRIVER = "PfForeignDriver"
    PF_UNBOUND = "PfUnbound"
    PF_NO_DRIVER = "PfNoDriver"
    PF_NO_SRIOV = "PfNoSriov"
    PF_NO_VFS = "PfNoVfs"
    PF_EXCLUDED = "PfExcluded"
    PF_NOT_SELECTED = "PfNotSelected"
    # Of who uses a VF of a PF that is to be configured
    HELD_BY_POD = "HeldByPod"
    MAYBE_HELD = "MaybeHeld"
    OFFERED = "Offered"
    IN_USE = "InUse"
    OTHER_DRIVER = "OtherDriver"
    MAYBE_IN_USE = "MaybeInUse"
    # Of what became of a PF that was configured
    PF_LOCKED = "PfLocked"
    STEP_HELD = "StepHeld"
    STEP_FAILED = "StepFailed"
    STEP_LATE = "StepLate"
    WRITER_ENDED = "WriterEnded"
    NOT_AS_WRITTEN = "NotAsWritten"
    # Of a refused Allocate or start
    NOT_LISTED = "NotListed"
    NODES_UNKNOWN = "NodesUnknown"
    DEVICE_OPEN = "DeviceOpen"
    GROUP_OPEN = "GroupOpen"
    NODE_CHANGED = "NodeChanged"
    GIVEN_TWICE = "GivenTwice"
    TOO_LARGE = "TooLarge"
    # Of its PF's health: core/health/verdict.py
    PF_UNPROBED = "PfUnprobed"
    PF_UNRESPONSIVE = "PfUnresponsive"
    PF_FATAL = "PfFatal"
    PF_GONE = "PfGone"
    PF_FENCED = "PfFenced"
    PF_DOWN = "PfDown"
    PF_RESTARTING = "PfRestarting"
    PF_RECOVERING = "PfRecovering"


_NO_SRIOV = "SR-IOV is off in the BIOS, or this PF was passed into a virtual machine without it"

# By the names of the detail. What is about a PF is told of its VFs with "its PF ADDRESS: " before it.
MESSAGES: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.UNREADABLE: "{problem}",
        Reason.NOT_PRESENT: "is not there",
        Reason.NO_DRIVER: "has no driver (qatdp run --bind gives it to {vfio_driver})",
        # No mode of --bind takes it: see core/pools/binding.py.
        Reason.FOREIGN_DRIVER: "driver {driver} has it, to which somebody gave it (unbind it there to have it offered)",
        Reason.KERNEL_DRIVER: "driver {driver} has it (qatdp run --bind=take gives it to {vfio_driver})",
        Reason.VFIO_NOT_LOADED: "is not on {vfio_driver}, which is not loaded (modprobe {vfio_driver})",
        Reason.BIND_FAILED: "{problem}",
        Reason.NO_IOMMU_GROUP: "has no IOMMU group (is the IOMMU on? kernel parameter intel_iommu=on)",
        Reason.GROUP_NOT_VIABLE: "IOMMU group {group} is not viable: driver {driver} has {member} in it",
        Reason.NO_IOMMU_MODE: "is in VFIO's no-IOMMU mode ({node}): a pod that has it and CAP_SYS_RAWIO can read and "
        "write all memory of the host (turn the IOMMU on; allowNoIommu: true in the configuration offers it all the "
        "same)",
        Reason.NO_DEVICE_NODE: "has no {kind} node (the kernel makes none)",
        Reason.DEVICE_NODE_MISSING: "{node} is not there",
        Reason.STALE_ALLOCATION: "a pod that has it was given {nodes}, which it no longer is",
        Reason.NODE_CLAIMED: "a pod that was given {node} for another VF still runs",
        Reason.OTHER_PLUGIN: "a pod has it as {resource}, from another plugin",
        Reason.HOLDERS_UNKNOWN: "{problem}",
        Reason.OPEN: "is open, and not by a pod that the kubelet knows: a VM or another process has it, or a pod that "
        "was forgotten",
        Reason.HOST_RESERVED: "reserved for the host, with the first {count} of its PF",
        Reason.GROUP_REPRESENTED: "shares IOMMU group {group} with {vf}, which stands for the group",
        Reason.NOT_SELECTED: "no resource of the configuration selects it",
        Reason.OVER_LIMIT: "over the limit of {resource}",
        Reason.WITHDRAWN: "being withdrawn from this resource",
        Reason.RELEASED: "over the limit of {resource}, and just released",
        Reason.MOVING: "on its way from {old} to {new}",
        Reason.PF_RECONFIGURING: "its PF {pf} is to become {goal}",
        Reason.PLUGIN_NOT_READY: "the device plugin has not come up: {problem}",
        Reason.PF_UNREADABLE: "{problem}",
        Reason.PF_NO_SERVICES: "its PF {pf} has no services configured",
        Reason.PF_GIVEN_AWAY: "driver {driver} has it, so it belongs to whoever uses that (its own is {own})",
        Reason.PF_FOREIGN_DRIVER: "driver {driver} has it, which is not its own (unbind it, and bind it to {own})",
        Reason.PF_UNBOUND: "has no driver, though {own} is loaded (see the kernel's log, or bind it to {own} again)",
        Reason.PF_NO_DRIVER: "has no driver (modprobe {module}; where it is not loaded at boot, see blacklists in "
        "/etc/modprobe.d)",
        Reason.PF_NO_SRIOV: f"can have no VFs: sriov_totalvfs {{text}} ({_NO_SRIOV})",
        Reason.PF_NO_VFS: "has no VFs (qatdp provision makes them, or a write to its sriov_numvfs)",
        Reason.PF_EXCLUDED: "excludePfs of the configuration names it",
        Reason.PF_NOT_SELECTED: "no part of provision takes it",
        Reason.HELD_BY_POD: "is held by a pod as {resource}",
        Reason.MAYBE_HELD: "may be held by a pod as {resource}",
        Reason.OFFERED: "is offered by the kubelet as {resource}",
        Reason.IN_USE: "is open: somebody uses it",
        Reason.OTHER_DRIVER: "is on driver {driver}",
        Reason.MAYBE_IN_USE: "may be in use: {problem}",
        Reason.PF_LOCKED: "{problem}",
        Reason.STEP_HELD: "{step}: {problem}",
        Reason.STEP_FAILED: "{step}: {problem}",
        Reason.STEP_LATE: "{problem}",
        Reason.WRITER_ENDED: "its writer has ended: {problem}",
        Reason.NOT_AS_WRITTEN: "written, but the node shows that this is still to be done: {steps}",
        Reason.NOT_LISTED: "{device} is not a device of {resource}",
        Reason.NODES_UNKNOWN: "its nodes are not known",
        Reason.DEVICE_OPEN: "{device} of {resource} is open: another pod, a VM or a process of the host has it",
        Reason.GROUP_OPEN: "{device}, in the IOMMU group of a device of {resource} is open: another pod, a VM or a "
        "process of the host has it",
        Reason.NODE_CHANGED: "{device} of {resource} has another node than this pod was given, which may be that of "
        "another VF",
        Reason.GIVEN_TWICE: "{device} of {resource} is open: the kubelet has given it to two pods, and the other one "
        "runs",
        Reason.TOO_LARGE: "{count} in one call, of at most {most}",
        Reason.PF_UNPROBED: "its PF {pf} is unprobed: {evidence}",
        Reason.PF_UNRESPONSIVE: "its PF {pf} is unresponsive: {evidence}",
        Reason.PF_FATAL: "its PF {pf} is fatal: {evidence}",
        Reason.PF_GONE: "its PF {pf} is gone: {evidence}",
        Reason.PF_FENCED: "its PF {pf} is fenced: {evidence}",
        Reason.PF_DOWN: "its PF {pf} {evidence}",
        Reason.PF_RESTARTING: "its PF {pf} is restarting: {evidence}",
        Reason.PF_RECOVERING: "its PF {pf} is recovering: {evidence}",
    }
)


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with a VF or a PF; `detail` are the names that the message of the reason has, with their values."""

    reason: Reason
    detail: tuple[tuple[str, str], ...] = ()

    def of_pf(self, pf: object) -> "Defect":
        """Return what a PF's defect is to its VFs."""
        return Defect(self.reason, (*self.detail, ("pf", str(pf))))

    def of_user(self, vf: object) -> "Defect":
        """Return what it means for a PF that this VF of it is in use."""
        return Defect(self.reason, (*self.detail, ("user", str(vf))))

    def __str__(self) -> str:
        return message(self)


def defect(reason: Reason, **detail: object) -> Defect:
    return Defect(reason, tuple((name, str(value)) for name, value in detail.items()))


def message(of: Defect) -> str:
    """Return the message for people. KeyError where the detail lacks a name of the template: a fault of ours."""
    detail, template = dict(of.detail), MESSAGES[of.reason]
    text = template.format_map(detail)
    if "user" in detail:
        return f"{detail['user']} {text}"
    return f"its PF {detail['pf']}: {text}" if "pf" in detail and "{pf}" not in template else text
