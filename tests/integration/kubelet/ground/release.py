"""A node whose resource gets another name, so that each VF is to leave one list and to come up in another.

How the release of its VFs is seen step by step, and held up at one, by the gates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ground.gates import Call, Hold, Passage, Way
from ground.pods import Container, Pod
from ground.stage import CY, RENAMED, Stage
from ground.waiting import throughout, until_equal
from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.release.protocol import Step
from qatdp.kubelet import checkpoint

PF = "0000:6b:00.0"
VFS = ("0000:6b:00.1", "0000:6b:00.2", "0000:6b:00.3")
DEVICE = VFS[0]

# How long something is seen not to happen: six graces, ten rounds.
STAYS_S = 0.3

# How far a VF is that somebody has and that is to leave.
LOOKED_FOR = frozenset({Step.CORDONED, Step.CORDONED_NOT_IN_PODS, Step.CORDONED_LIST_RESENT})

BUSY = Container(limits={CY: 1})
IDLE = Container()
HOLDERS = {
    "an app container": Pod("app", (BUSY,)),
    "a plain init container": Pod("init", (IDLE,), init=(replace(BUSY, name="init"),)),
    "a sidecar": Pod("sidecar", (IDLE,), init=(replace(BUSY, name="sidecar", restartable=True),)),
}
INIT_ONLY = HOLDERS["a plain init container"]
ALL_OF_THEM = Pod("all", (Container(limits={CY: len(VFS)}),))


@dataclass(frozen=True, slots=True)
class Seen:
    """A passage, with what was so at that moment: how far DEVICE was, and which checkpoint there was."""

    passage: Passage
    step: Step | None
    checkpoint: checkpoint.Identity


@contextmanager
def watched(node: Stage) -> Iterator[list[Seen]]:
    """Note what passes from now on."""
    seen: list[Seen] = []
    plugins = node.kubelet.folder / "device-plugins"

    def note(passage: Passage) -> None:
        seen.append(Seen(passage, node.step(DEVICE), checkpoint.identity(plugins)))

    node.gates.watchers.append(note)
    yield seen
    node.gates.watchers.remove(note)


def health_in(passage: Passage, resource: str) -> str | None:
    """Return the health of DEVICE in a list of the resource, "" where that does not have it; None if it is no such."""
    if passage.resource != resource or not isinstance(passage.message, api.ListAndWatchResponse):
        return None
    return {device.ID: device.health for device in passage.message.devices}.get(DEVICE, "")


# What is held up to keep a VF at a step, and how far it can be meanwhile.
LIST_OF_CY = (Call.LIST_AND_WATCH, Way.ANSWER, CY)
GATES: dict[str, tuple[tuple[Call, Way, str | None], frozenset[Step]]] = {
    "a": (LIST_OF_CY, frozenset({Step.WITHDRAWN, Step.SENT})),
    "b": ((Call.ALLOCATABLE, Way.ANSWER, None), frozenset({Step.SENT})),
    "e": (LIST_OF_CY, frozenset({Step.NOT_IN_PODS, Step.LIST_RESENT})),
}


@contextmanager
def kept_at(node: Stage, gate: str, device: str = DEVICE) -> Iterator[Hold]:
    """Hold up a step of a VF's release."""
    (call, way, resource), steps = GATES[gate]
    with node.gates.held(call, way, resource, when=lambda: node.step(device) in steps) as hold:
        yield hold


async def check_stays(node: Stage, steps: frozenset[Step]) -> None:
    def look() -> tuple[bool, bool, bool]:
        return DEVICE in node.lists[CY], node.step(DEVICE) in steps, DEVICE in node.lists.get(RENAMED, ())

    await throughout("it stays where it is", look, (True, True, False), duration_s=STAYS_S)


# The steps of a withdrawal at which a VF can be kept; the grace alone keeps it at SEEN_BY_KUBELET.
KEPT_STEPS = (Step.SENT, Step.QUIET, Step.LIST_RESENT)


@contextmanager
def kept_at_step(node: Stage, step: Step, device: str = DEVICE) -> Iterator[None]:
    """Keep a VF from going on after a step of its withdrawal."""
    gates = {Step.SENT: "b", Step.LIST_RESENT: "e"}
    with kept_at(node, gates[step], device) if step in gates else never_quiet(node):
        yield


@contextmanager
def never_quiet(node: Stage) -> Iterator[None]:
    """Let the daemon think that the kubelet has just called, so that it does not call List."""
    of_daemon = node.node
    clock, of_daemon.clock = of_daemon.clock, lambda: of_daemon.calls.ended_s
    yield
    of_daemon.clock = clock


async def check_moved(node: Stage) -> None:
    """Wait until all VFs are in the list of their new resource alone, and none is on its way."""
    await node.settle()
    await until_lists(node, "all have moved", {CY: set(), RENAMED: set(VFS)})


async def until_lists(node: Stage, what: str, wanted: Mapping[str, set[str]]) -> None:
    """Wait until these resources have just these VFs in their lists, as the proxy sees them: it may be the last."""
    await until_equal(what, lambda: {resource: set(node.lists.get(resource, ())) for resource in wanted}, wanted)


async def hold_device(node: Stage, pod: Pod) -> None:
    """Let a pod have DEVICE."""
    admission = await node.admit(pod)
    assert admission.ids == {DEVICE}, admission.error


async def check_others_move(node: Stage) -> None:
    """Wait until each list is as it should be while DEVICE is held, and see it stay so."""
    await until_lists(node, "the others have moved", {CY: {DEVICE}, RENAMED: set(VFS) - {DEVICE}})
    await check_stays(node, LOOKED_FOR)
