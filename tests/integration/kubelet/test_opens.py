"""Pods set `enable` while they run, as vfio-pci does: none that starts by the rules is refused, and an open VF is not
given away, whatever the kubelet believes."""

import asyncio
from collections.abc import Iterable

from ground.gates import Call, Way
from ground.pods import Container, Pod
from ground.release import ALL_OF_THEM, VFS
from ground.stage import CY, HEALTHY, Stage
from ground.waiting import until_equal

from qatdp.kubelet import checkpoint
from qatdp.kubelet.podresources import PodResources
from qatdp.simulator.kubelet import RefusedError

UNHEALTHY = "Unhealthy"


def set_open(node: Stage, ids: Iterable[str], *, is_open: bool = True) -> None:
    for text in ids:
        (node.host.open_vf if is_open else node.host.close_vf)(text)


def refusals(node: Stage) -> int:
    """Return how many Allocates were not answered with devices."""
    asked = [one for one in node.gates.passed if one.call is Call.ALLOCATE]
    return sum(one.way is Way.REQUEST for one in asked) - sum(one.way is Way.ANSWER for one in asked)


async def check_health(node: Stage, health: dict[str, str]) -> None:
    await until_equal("its list", lambda: node.lists[CY], health)


async def check_polled(node: Stage, spare: str) -> None:
    """Wait until the daemon has looked at what is open; a VF that is nobody's is the only one to be Unhealthy."""
    set_open(node, [spare])
    await check_health(node, {**dict.fromkeys(VFS, HEALTHY), spare: UNHEALTHY})
    set_open(node, [spare], is_open=False)
    await check_health(node, dict.fromkeys(VFS, HEALTHY))


# Who is not refused


async def test_containers_of_every_kind_start_and_restart(node: Stage) -> None:
    init = (Container("init", {CY: 1}), Container("sidecar", {CY: 1}, restartable=True))
    pod = Pod("pod", (Container(limits={CY: 1}),), init)
    admission = await node.admit(pod)
    assert admission.admitted, admission.error
    ids = {name: admission.devices[name][CY] for name in ("init", "sidecar", "main")}
    for name, given in ids.items():
        await node.kubelet.options(pod, name)
        set_open(node, given)
        set_open(node, ids["init"] if name == "init" else (), is_open=False)
    await check_polled(node, *(set(VFS) - admission.ids))
    for name in ("sidecar", "main"):
        set_open(node, ids[name], is_open=False)
        await node.kubelet.options(pod, name)
        set_open(node, ids[name])
    await node.restart_kubelet(kill=True)
    await node.settle()
    await node.kubelet.options(pod)
    await check_polled(node, *(set(VFS) - admission.ids))
    await node.restart_daemon()
    await node.settle()
    await check_polled(node, *(set(VFS) - admission.ids))
    assert refusals(node) == 0


async def test_pods_that_follow_one_another_are_not_refused(node: Stage) -> None:
    for _ in range(10):
        pod, ids = await node.give({CY: len(VFS)})
        set_open(node, ids)
        set_open(node, ids, is_open=False)
        await node.end(pod)
    assert refusals(node) == 0


# Who is


async def test_pod_in_place_of_one_that_still_ends_is_refused(node: Stage) -> None:
    """The kubelet frees what a pod has as soon as that was deleted by force."""
    pod, ids = await node.give({CY: len(VFS)})
    set_open(node, ids)
    await node.end(pod)
    admission = await node.admit(ALL_OF_THEM)
    assert not admission.admitted
    assert "is open" in (admission.error or "")
    await check_health(node, dict.fromkeys(VFS, UNHEALTHY))
    set_open(node, ids, is_open=False)
    await check_health(node, dict.fromkeys(VFS, HEALTHY))
    await node.settle()
    await node.give({CY: len(VFS)})


async def test_kubelet_without_its_checkpoint_gives_no_open_vf(node: Stage) -> None:
    pod, ids = await node.give({CY: 1})
    set_open(node, ids)
    await node.end_kubelet(kill=True)
    (node.kubelet.folder / "device-plugins" / checkpoint.FILE).unlink()
    await node.kubelet.start(sources_ready=False, running=[f"{pod.uid}/main"])
    assert node.proxy
    await node.proxy.up()
    assert (await node.kubelet.admit(pod)).admitted  # it runs, and so it is not asked for
    await node.kubelet.set_sources(ready=True)
    await until_equal("its VF is known to be open", lambda: node.lists.get(CY, {}).get(*ids), UNHEALTHY)
    await node.settle()
    _, others = await node.give({CY: len(VFS) - 1}, "other")
    assert not ids & others


async def forgotten(node: Stage) -> tuple[Pod, frozenset[str]]:
    """Let the kubelet forget what it gives to a pod: somebody calls List meanwhile, and another pod has ended."""
    other, _ = await node.give({CY: 1}, "other")
    first = Pod("first", (Container(limits={CY: len(VFS) - 1}),))
    with node.gates.held(Call.ALLOCATE, Way.ANSWER, CY) as hold:
        admission = asyncio.create_task(node.admit(first))
        await hold.until_held()
        await node.end(other)
        await PodResources(node.kubelet.folder / "pod-resources").listed()
    return first, (await admission).ids


async def test_pod_that_is_given_an_open_vf_as_well_is_refused(node: Stage) -> None:
    _, ids = await forgotten(node)
    set_open(node, ids)
    second = await node.admit(Pod("second", (Container(limits={CY: len(VFS)}),)))
    assert not second.admitted
    assert "is open" in (second.error or "")


async def test_vf_that_two_pods_were_given_starts_in_one(node: Stage) -> None:
    first, ids = await forgotten(node)
    second = Pod("second", (Container(limits={CY: len(VFS)}),))
    admission = await node.admit(second)
    assert admission.admitted, admission.error
    await until_equal("it is known", lambda: set(map(str, node.node.shared)), set(ids))
    # Up to 1.36 a Register costs a moment in which no container starts; the kubelet tries again.
    await until_equal("the first starts", lambda: why_no_start(node, first), "")
    set_open(node, ids)
    await until_equal("the second waits", lambda: why_no_start(node, second), "the kubelet has given it to two pods")
    set_open(node, ids, is_open=False)
    await until_equal("the second starts", lambda: why_no_start(node, second), "")


async def why_no_start(node: Stage, pod: Pod) -> str:
    """Return why its container is not started, "" where it is; of our own reason only what matters here."""
    reason = "the kubelet has given it to two pods"
    try:
        await node.kubelet.options(pod)
    except RefusedError as error:
        return reason if reason in str(error) else str(error)
    return ""
