"""PreStartContainer, as a kubelet asks for it where a plugin wants that, and what that costs (docs/architecture.md)."""

from collections.abc import AsyncIterator

import grpc
import pytest
from ground.kubelets import Kubelet
from ground.pods import Container, Pod
from ground.waiting import until_equal
from support.plugin import CY, Context, ScriptedPlugin

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet import RefusedError

IDS = ("a", "b")
POD = Pod("pod", (Container(limits={CY: len(IDS)}),))


class Asking(ScriptedPlugin):
    """A plugin that wants to be asked before each start, and notes of which devices it was; `why_not` refuses them."""

    def __init__(self, kubelet: Kubelet) -> None:
        super().__init__(kubelet.folder, CY, IDS)
        self.options = api.DevicePluginOptions(pre_start_required=True)
        self.why_not = ""
        self.starts: list[frozenset[str]] = []

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        self.starts.append(frozenset(request.devices_ids))
        if self.why_not:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.why_not)
        return api.PreStartContainerResponse()

    async def come(self, kubelet: Kubelet, name: str) -> None:
        await self.serve(name)
        await self.register(name)
        await until_equal("it is known", lambda: offered(kubelet), frozenset(IDS))


async def offered(kubelet: Kubelet) -> frozenset[str]:
    return (await kubelet.capacity()).healthy.get(CY, frozenset())


async def given(kubelet: Kubelet) -> set[str]:
    """Return what a start of the container would be told."""
    return set((await kubelet.options(POD)).envs[CY].split(","))


@pytest.fixture
async def plugin(kubelet: Kubelet) -> AsyncIterator[Asking]:
    """One that has given its devices to POD."""
    await kubelet.start()
    plugin = Asking(kubelet)
    await plugin.come(kubelet, "first.sock")
    assert (await kubelet.admit(POD)).admitted
    yield plugin
    await plugin.close()
    await kubelet.kill()


async def test_it_is_asked_before_each_start_and_can_refuse_one_in_words(kubelet: Kubelet, plugin: Asking) -> None:
    for _ in range(2):
        assert await given(kubelet) == set(IDS)
    plugin.why_not = "not with these nodes"
    with pytest.raises(RefusedError, match=r"PreStartContainer rpc failed with err: .*not with these nodes"):
        await given(kubelet)
    plugin.why_not = ""
    assert await given(kubelet) == set(IDS)
    assert plugin.starts == [frozenset(IDS)] * 4


async def test_nothing_starts_while_the_plugin_is_away(kubelet: Kubelet, plugin: Asking) -> None:
    await plugin.close()
    await until_equal("it is missed", lambda: offered(kubelet), frozenset())
    with pytest.raises(RefusedError):
        await given(kubelet)
    await plugin.come(kubelet, "second.sock")
    assert await given(kubelet) == set(IDS)


@pytest.mark.parametrize("kill", [True, False])
async def test_a_kubelet_that_was_started_anew_starts_it_unasked_until_the_plugin_has_registered(
    kubelet: Kubelet, plugin: Asking, *, kill: bool
) -> None:
    await kubelet.restart(kill=kill, sources_ready=False, running=(f"{POD.uid}/main",))
    assert (await kubelet.admit(POD)).admitted
    assert await given(kubelet) == set(IDS)
    assert not plugin.starts
    await plugin.close()
    await plugin.come(kubelet, "second.sock")
    assert await given(kubelet) == set(IDS)
    assert plugin.starts == [frozenset(IDS)]
