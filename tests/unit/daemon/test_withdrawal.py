"""A configuration that changes is followed by VFs that nobody has, and by others when their pods have ended."""

from dataclasses import replace

import pytest
from support.stage import CY, Stage

from qatdp.core.model.pci import PciAddress
from qatdp.simulator.kubelet import KINDS, Call, Container, Pod

PF = "0000:6b:00.0"
RENAMED = "qat.intel.com/renamed"
RENAME = "version: 1\nresources: [{name: renamed, services: [sym, asym]}]\n"
EACH_KIND = pytest.mark.parametrize("version", KINDS)


@EACH_KIND
async def test_free_vfs_follow_a_new_name(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)
    await stage.lists(CY, ())


@EACH_KIND
async def test_a_vf_that_a_pod_has_stays_under_its_name_and_healthy_until_the_pod_ends(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod, held = await stage.give(CY)
    stage.configure(RENAME)
    free = [vf for vf in vfs if vf not in held]
    await stage.lists(RENAMED, free)
    await stage.lists(CY, held)
    await stage.scanned(5)
    await stage.lists(CY, held)
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)
    await stage.lists(CY, ())


async def test_the_vf_of_a_plain_init_container_stays_although_list_does_not_name_it(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod = Pod("pod", (Container(),), init=(Container("init", {CY: 1}),))
    (held,) = map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
    stage.configure(RENAME)
    await stage.lists(RENAMED, [vf for vf in vfs if vf != held])
    await stage.scanned(5)
    await stage.lists(CY, [held])
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)


async def test_a_limit_withdraws_free_vfs_first(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    _, held = await stage.give(CY, 2)
    stage.configure("version: 1\ndefaultResources: true\nresources: [{name: cy, services: [sym, asym], limit: 3}]\n")
    free = [vf for vf in vfs if vf not in held]
    await stage.lists(CY, sorted([*held, free[0]]))
    await stage.until(lambda: str(stage.node.pools.excluded.get(free[1])).startswith("over the limit"))
    stage.configure("version: 1")
    await stage.lists(CY, vfs)


async def test_what_no_resource_selects_any_more_leaves_when_it_is_free(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod, held = await stage.give(CY)
    stage.configure("version: 1\nresources: [{name: dc, services: [dc]}]\n")
    await stage.lists(CY, held)
    await stage.kubelet.remove(pod)
    await stage.lists(CY, ())
    assert set(stage.node.pools.excluded) == set(vfs)


@pytest.mark.parametrize(
    "wrong", ["version: 2", "version: 1\nresources: [{}]", "{", "", "version: 1\nresource: []", "\x00"]
)
async def test_a_configuration_that_is_wrong_changes_nothing(
    stage: Stage, vfs: tuple[PciAddress, ...], caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    stage.configure(wrong)
    await stage.until(lambda: "invalid configuration, keeping the previous one" in caplog.text)
    await stage.scanned()
    await stage.lists(CY, vfs)
    assert len(stage.kubelet.lists(CY)) == 1
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)


async def test_configuration_warnings_are_logged(
    stage: Stage, vfs: tuple[PciAddress, ...], caplog: pytest.LogCaptureFixture
) -> None:
    both = ", ".join(f"{{name: {name}, services: [sym, asym], addressVariables: [index]}}" for name in ("a", "b"))
    stage.configure(f"version: 1\nresources: [{both}]")
    await stage.lists("qat.intel.com/a", vfs)
    told = [text for text in caplog.messages if text.startswith("configuration warning")]
    assert len(told) == 1
    assert "resources[1].addressVariables" in told[0]


async def test_a_configuration_that_goes_away_changes_nothing(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.config.unlink()
    await stage.scanned(3)
    assert len(stage.kubelet.lists(CY)) == 1
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)


async def test_a_config_map_that_is_swapped_is_seen(stage: Stage) -> None:
    # As kubelet's atomic writer does it: config.yaml -> ..data/config.yaml, ..data -> ..2024_1, and ..data is swapped.
    volume = stage.folder / "volume"
    for name, text in (("..1", "version: 1\n"), ("..2", RENAME)):
        (volume / name).mkdir(parents=True)
        (volume / name / "config.yaml").write_text(text)
    (volume / "..data").symlink_to("..1")
    (volume / "config.yaml").symlink_to("..data/config.yaml")
    stage.host.add_pf(PF, vfs=2)
    stage.settings = replace(stage.settings, config=volume / "config.yaml")
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(PF))
    (volume / "..data_tmp").symlink_to("..2")
    (volume / "..data_tmp").rename(volume / "..data")
    await stage.offers(RENAMED, stage.host.vfs(PF))


async def test_a_wish_that_is_taken_back_in_time_leaves_everything_where_it_was(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    with stage.kubelet.held(Call.ALLOCATABLE) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.lists(CY, (), vfs)
        stage.configure("version: 1")
        await stage.lists(CY, vfs)
    await stage.scanned()
    await stage.lists(CY, vfs)
    assert stage.kubelet.registrations(RENAMED) == []
