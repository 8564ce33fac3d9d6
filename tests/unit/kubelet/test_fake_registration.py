"""The fake kubelet takes registrations, and loses them, as the real one does, in each version's own way."""

import asyncio
from pathlib import Path

import grpc
import pytest
from support.plugin import ScriptedPlugin, a_plugin, device

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet import VERSIONS, Call, FakeKubelet, Pod
from qatdp.simulator.kubelet.versions import since, up_to

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
ALL = pytest.mark.parametrize("version", VERSIONS)


async def counts(kubelet: FakeKubelet, resource: str = CY) -> tuple[int, int] | None:
    found = (await kubelet.capacity()).resources.get(resource)
    return (found.capacity, found.allocatable) if found else None


@ALL
async def test_a_plugin_is_called_back_before_its_register_is_answered(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version) as kubelet:
        plugin = ScriptedPlugin(folder, CY)
        await plugin.serve("cy.sock")
        with kubelet.held(Call.OPTIONS) as hold:
            register = asyncio.create_task(plugin.register("cy.sock"))
            await hold.reached()
            assert not register.done() and not kubelet.streams(CY)
        await register
        await kubelet.list_of(CY, dict.fromkeys("abcd", "Healthy"))
        assert len(plugin.asked) == 1
        await plugin.close()


async def test_the_options_of_the_request_are_not_read(kubelet: FakeKubelet) -> None:
    plugin = ScriptedPlugin(kubelet.folder, CY)
    plugin.options = api.DevicePluginOptions()
    await plugin.serve("cy.sock")
    options = api.DevicePluginOptions(get_preferred_allocation_available=True)
    await plugin.register("cy.sock", api.RegisterRequest(options=options))
    await kubelet.offers(CY, "abcd")
    assert (await kubelet.admit(Pod.of(cy=1))).admitted
    assert not kubelet.passed(Call.PREFERRED, CY)
    await plugin.close()


@pytest.mark.parametrize(
    "wrong",
    [
        api.RegisterRequest(version="v1beta2"),
        api.RegisterRequest(resource_name="cy"),
        api.RegisterRequest(resource_name="a/b/c"),
        api.RegisterRequest(resource_name="example.kubernetes.io/cy"),
        api.RegisterRequest(resource_name="Example.com/cy"),
        api.RegisterRequest(resource_name="requests.example.com/cy"),
        api.RegisterRequest(resource_name=f"example.com/{'c' * 64}"),
        api.RegisterRequest(resource_name=f"{'c' * 245}/cy"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_register_is_told_by_a_text_alone(
    kubelet: FakeKubelet, wrong: api.RegisterRequest
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=r"is not supported by kubelet|is invalid") as raised:
        await ScriptedPlugin(kubelet.folder, CY).register("cy.sock", wrong)
    assert raised.value.code() is grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("name", ["nobody.sock", "", f"{'c' * 71}.sock"])
async def test_who_does_not_serve_or_has_too_long_a_name_is_not_reached(folder: Path, name: str) -> None:
    async with FakeKubelet(folder, dial_s=0.1) as kubelet:
        plugin = ScriptedPlugin(folder, CY)
        if len(name) > 75:
            await plugin.serve(name)
        with pytest.raises(grpc.aio.AioRpcError, match="failed to dial device plugin: context deadline exceeded"):
            await plugin.register(name)
        assert await counts(kubelet) is None
        await plugin.close()


async def test_a_name_of_75_characters_is_not_too_long(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet, name=f"{'c' * 70}.sock"):
        assert await counts(kubelet) == (4, 4)


@ALL
async def test_a_register_that_is_given_up_goes_on_up_to_1_34(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version) as kubelet:
        plugin = ScriptedPlugin(folder, CY)
        await plugin.serve("cy.sock")
        with kubelet.held(Call.OPTIONS) as hold:
            register = asyncio.create_task(plugin.register("cy.sock"))
            await hold.reached()
            register.cancel()
            with pytest.raises(asyncio.CancelledError):
                await register
            if VERSIONS[version].register_ends_with_caller:
                await kubelet.until(lambda: not hold.waiting)
        if VERSIONS[version].register_ends_with_caller:
            assert not kubelet.streams(CY)
        else:
            await kubelet.offers(CY, "abcd")
        await plugin.close()


# Streams and their ends


@ALL
@pytest.mark.parametrize("how", ["returns", "dies"])
async def test_a_stream_that_ends_is_not_opened_again_and_takes_allocatable_at_once(
    folder: Path, version: str, how: str
) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
        if how == "returns":
            plugin.end_stream()
        else:
            await plugin.close()
        await kubelet.offers(CY, "")
        assert await counts(kubelet) == (4, 0)
        assert not kubelet.streams(CY)
        refused = await kubelet.admit(Pod.of(cy=1))
        assert refused.reason == "UnexpectedAdmissionError"
        assert "no healthy devices present; cannot allocate unhealthy devices" in (refused.error or "")
        assert len(plugin.asked) == 1


async def test_capacity_is_dropped_when_the_plugin_has_been_away_for_long(folder: Path) -> None:
    async with FakeKubelet(folder, stop_grace_s=0) as kubelet, a_plugin(kubelet) as plugin:
        pod = Pod.of(cy=1)
        await kubelet.admit(pod)
        await plugin.close()
        await kubelet.offers(CY, "")
        assert await counts(kubelet) is None
        refused = await kubelet.admit(Pod.of(cy=1))
        assert "cannot allocate unregistered device" in (refused.error or "")  # another pod still has one


async def test_each_list_replaces_the_one_before(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet, CY, "a", "b") as plugin:
        plugin.send("b", device("c", "Unhealthy"))
        await kubelet.list_of(CY, {"b": "Healthy", "c": "Unhealthy"})
        assert await counts(kubelet) == (2, 1)


async def test_no_health_but_the_very_word_is_healthy(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.send("a", device("b", "healthy"), device("c", "HEALTHY"), device("d", ""))
        await kubelet.offers(CY, "a")


async def test_an_id_that_is_sent_with_two_healths_counts_twice(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.send("a", device("a", "Unhealthy"), "b", "b")
        await kubelet.offers(CY, "ab")
        assert await counts(kubelet) == (3, 2)


async def test_a_list_of_more_than_4_mib_is_the_end_of_its_stream(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.send(device("a" * (5 << 20)))
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (4, 0)


@pytest.mark.parametrize("version", since(37))
async def test_from_1_37_the_end_of_an_old_plugin_leaves_the_new_one_alone(folder: Path, version: str) -> None:
    async with (
        FakeKubelet(folder, version) as kubelet,
        a_plugin(kubelet, name="old.sock") as old,
        a_plugin(kubelet, CY, "e", name="new.sock") as new,
    ):
        await kubelet.offers(CY, "e")
        old.send("a")
        await kubelet.offers(CY, "a")  # a resource has one list, from whichever of its streams
        await old.close()
        await kubelet.until(lambda: kubelet.streams(CY) == ["new.sock"])
        assert await counts(kubelet) == (1, 1)  # the old one's last list stands
        new.send("e")
        await kubelet.offers(CY, "e")
        assert (await kubelet.admit(Pod.of(cy=1))).ids == {"e"}


@pytest.mark.parametrize("version", up_to(36))
async def test_up_to_1_36_the_end_of_an_old_plugin_closes_the_new_one(folder: Path, version: str) -> None:
    async with (
        FakeKubelet(folder, version) as kubelet,
        a_plugin(kubelet, name="old.sock") as old,
        a_plugin(kubelet, CY, "e", name="new.sock") as new,
    ):
        await kubelet.offers(CY, "e")
        await old.close()
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (1, 0)
        await new.register("new.sock")  # heals it
        await kubelet.offers(CY, "e")


@pytest.mark.parametrize("version", since(37))
async def test_from_1_37_a_path_that_is_registered_twice_is_refused_and_poisoned(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
        with pytest.raises(grpc.aio.AioRpcError, match=r"device plugin already connected: .*cy\.sock"):
            await plugin.register("cy.sock")
        plugin.send("a", "b")
        await kubelet.offers(CY, "ab")
        await plugin.close()
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (2, 2)  # that its plugin is gone, it does not notice
        refused = await kubelet.admit(Pod.of(cy=1))
        assert "rpc failed with err: rpc error: code = Unavailable" in (refused.error or "")
        async with a_plugin(kubelet, name="other.sock"):
            await kubelet.offers(CY, "abcd")
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (4, 4)


@pytest.mark.parametrize("version", since(37))
async def test_from_1_37_a_dial_that_fails_poisons_a_path_as_well(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(kubelet) as plugin:
        (kubelet.plugins / "cy.sock").unlink()
        with pytest.raises(grpc.aio.AioRpcError, match="failed to dial"):
            await plugin.register("cy.sock")
        await plugin.close()
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (4, 4)


@pytest.mark.parametrize("version", up_to(36))
async def test_up_to_1_36_a_path_that_is_registered_twice_has_two_streams_and_dies_with_either(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
        await plugin.register("cy.sock")
        await kubelet.until(lambda: len(kubelet.streams(CY)) == 2 and len(kubelet.lists(CY)) == 2)
        await kubelet.close_stream(CY)
        await kubelet.until(lambda: len(kubelet.streams(CY)) == 1)  # of which nobody knows any more
        assert await counts(kubelet) == (4, 0)


def test_there_is_a_row_for_each_version() -> None:
    assert list(VERSIONS) == [f"1.{minor}" for minor in range(29, 38)]
