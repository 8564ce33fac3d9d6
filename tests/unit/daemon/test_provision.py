"""Provision, from bare PFs to a split and back, beside a kubelet and without one, by real processes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.stage import CY, DC, Stage

from qatdp.core.config.model import Config, parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import in_order
from qatdp.core.provision.outcome import Status
from qatdp.daemon.provision import Kubelet, Provision, Report
from qatdp.errors import ConfigError, QatdpError
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.pf.context import PfContext, PfTiming
from qatdp.host.pf.locks import NODE_LOCK, Lock, LockOwner
from qatdp.simulator.host.kernel import FakeKernel
from qatdp.simulator.host.node import FakeHost

PFS = ("0000:6b:00.0", "0000:70:00.0", "0000:75:00.0", "0000:7a:00.0")
WHO = LockOwner("me", 1, "provision", "now")


def half(cy: int) -> Config:
    split = [{"services": ["sym", "asym"], "percent": cy}, {"services": ["dc"]}]
    return parse_config({"version": 1, "provision": [{"split": split, "autoReset": True}]})


class Ground:
    """A node with four bare PFs, and how it is provisioned."""

    def __init__(self, host: FakeHost, folder: Path, kernel: FakeKernel, kubelet: Path) -> None:
        self._kubelet = Kubelet(kubelet / "device-plugins", kubelet / "pod-resources")
        self.host, self.kernel = host, kernel
        self.site = PfContext(host.sysfs, host.dev, folder / "locks", WHO, kernel.child, PfTiming(pause_s=0.01))

    def job(self, config: Config, node: str | None = None) -> Provision:
        return Provision(config, node, PortableCalls(), self.site, self._kubelet)

    async def provision(self, config: Config) -> Report:
        return await self.job(config).run()

    def services(self) -> list[str]:
        return [";".join(in_order(pf.services or ())) for pf in self.host.scan().pfs]


def bare(host: FakeHost) -> None:
    for pf in PFS:
        host.add_pf(pf, vfs=0)
        host.attribute(pf, "sriov_totalvfs", "2")


@pytest.fixture
def ground(folder: Path) -> Iterator[Ground]:
    host = FakeHost(folder / "host")
    bare(host)
    with FakeKernel(host, folder) as kernel:
        yield Ground(host, folder, kernel, folder / "kubelet")


def became(report: Report) -> list[Status]:
    return [outcome.status for outcome in report.outcomes]


async def test_from_bare_pfs_to_a_split_and_back_and_the_second_run_writes_nothing(ground: Ground) -> None:
    for config, services in ((half(50), ["asym;sym", "asym;sym", "dc", "dc"]), (half(25), ["asym;sym", *["dc"] * 3])):
        report = await ground.provision(config)
        assert report.as_wished
        assert Status.CHANGED in became(report)
        assert ground.services() == services
        snapshot = ground.host.scan()
        assert [vf.driver for vf in snapshot.vfs] == ["vfio-pci"] * 8
        assert {pf.auto_reset for pf in snapshot.pfs} == {True}
        written = len(ground.kernel.calls.written)
        assert became(await ground.provision(config)) == [Status.UNCHANGED] * 4
        assert len(ground.kernel.calls.written) == written
    assert (await ground.provision(half(50))).as_wished
    assert sorted(ground.services()) == ["asym;sym", "asym;sym", "dc", "dc"]


async def test_a_look_changes_nothing(ground: Ground) -> None:
    assert became(await ground.job(half(50)).look()) == [Status.PLANNED] * 4
    assert ground.kernel.calls.written == []
    assert not ground.site.locks.exists()


async def test_a_pf_with_an_open_vf_is_busy_and_the_others_are_done(ground: Ground) -> None:
    await ground.provision(half(50))
    for pf in PFS[:2]:
        ground.host.open_vf(ground.host.vfs(pf)[1])
    report = await ground.provision(half(0))
    assert became(report) == [Status.BUSY, Status.BUSY, Status.UNCHANGED, Status.UNCHANGED]
    assert not report.as_wished
    assert report.outcomes[0].message == "0000:6b:00.2 is open: somebody uses it"
    ground.host.close_vf(ground.host.vfs(PFS[0])[1])
    assert became(await ground.provision(half(0)))[:2] == [Status.CHANGED, Status.BUSY]


async def test_one_process_configures_a_node_and_the_other_says_who(ground: Ground) -> None:
    lock = Lock(ground.site.locks, NODE_LOCK, LockOwner("qatdp-abc", 7, "run", "long ago"))
    report = await ground.provision(half(50))
    lock.close()
    assert became(report) == [Status.BUSY] * 4
    assert report.outcomes[0].message == "qatdp-abc (process 7, run) configures it since long ago"
    assert ground.kernel.calls.written == []


async def test_what_was_written_in_vain_is_a_failure(ground: Ground) -> None:
    ground.host.refusals[PciAddress.parse(PFS[0]), "sriov_numvfs 2"] = 22
    report = await ground.provision(half(100))
    assert became(report) == [Status.FAILED, *[Status.CHANGED] * 3]


async def test_a_folder_for_locks_that_cannot_be_is_told(ground: Ground, folder: Path) -> None:
    (folder / "file").touch()
    ground.site = replace(ground.site, locks=folder / "file")
    with pytest.raises(QatdpError, match="cannot be used"):
        await ground.provision(half(50))


async def test_without_a_wish_nothing_is_planned(ground: Ground) -> None:
    assert became(await ground.provision(Config())) == [Status.SKIPPED] * 4
    named = parse_config({"version": 1, "provision": [{"nodes": ["a*"], "split": [{"services": ["dc"]}]}]})
    assert became(await ground.job(named, "b").look()) == [Status.SKIPPED] * 4
    assert became(await ground.job(named, "ab").look()) == [Status.PLANNED] * 4
    with pytest.raises(ConfigError):
        ground.job(named)


# Beside a kubelet


@pytest.fixture
def beside(stage: Stage) -> Iterator[Ground]:
    """The node of a stage, on which the kubelet runs; its PFs have VFs, all of cy."""
    bare(stage.host)
    for pf in PFS:
        stage.host.add_vfs(pf, 2)
        stage.host.attribute(pf, "qat/auto_reset", "on")
    with FakeKernel(stage.host, stage.folder) as kernel:
        yield Ground(stage.host, stage.folder, kernel, stage.kubelet.folder)


async def test_what_the_kubelet_still_offers_is_not_touched(stage: Stage, beside: Ground) -> None:
    await stage.start_daemon()
    await stage.offers(CY, [vf for pf in PFS for vf in stage.host.vfs(pf)])
    report = await beside.provision(half(0))
    assert became(report) == [Status.BUSY] * 4
    assert report.outcomes[0].message == f"0000:6b:00.1 is offered by the kubelet as {CY}"
    assert beside.kernel.calls.written == []


async def test_beside_a_daemon_that_manages_the_node_it_says_who_does(stage: Stage, beside: Ground) -> None:
    await stage.start_daemon()
    await stage.offers(CY, [vf for pf in PFS for vf in stage.host.vfs(pf)])
    lock = Lock(beside.site.locks, NODE_LOCK, LockOwner("qatdp-abc", 7, "run", "long ago"))
    report = await beside.provision(half(0))
    lock.close()
    assert became(report) == [Status.BUSY] * 4
    offered, who = f"0000:6b:00.1 is offered by the kubelet as {CY}", "qatdp-abc (process 7, run) configures it since"
    assert report.outcomes[0].message == f"{offered}; {who} long ago"
    assert became(await beside.provision(half(100))) == [Status.UNCHANGED] * 4, (
        "nothing is to be done, whoever has the lock"
    )


async def test_before_a_daemon_what_a_pod_holds_stays_and_the_rest_is_changed(stage: Stage, beside: Ground) -> None:
    await stage.start_daemon()
    await stage.offers(CY, [vf for pf in PFS for vf in stage.host.vfs(pf)])
    _, (held,) = await stage.give(CY)
    await stage.end_daemon()
    report = await beside.provision(half(25))
    mine = next(pf for pf in PFS if held in stage.host.vfs(pf))
    assert report.as_wished  # the one that is to be cy is the one that the pod has
    assert [text for pf, text in zip(PFS, beside.services(), strict=True) if pf == mine] == ["asym;sym"]
    report = await beside.provision(half(0))
    (busy,) = (outcome for outcome in report.outcomes if outcome.status is Status.BUSY)
    assert (str(busy.pf), busy.message) == (mine, f"{held} is held by a pod as {CY}")
    await stage.start_daemon()
    await stage.offers(DC, [vf for pf in PFS if pf != mine for vf in stage.host.vfs(pf)])


async def test_a_kubelet_that_is_down_is_no_absent_one_and_bare_pfs_are_free(stage: Stage, beside: Ground) -> None:
    await stage.kubelet.stop()
    for vf in stage.host.vfs(PFS[0]):
        stage.host.remove(vf)
    report = await beside.provision(half(0))
    assert became(report) == [Status.CHANGED, *[Status.BUSY] * 3]
    assert "may be in use" in str(report.outcomes[1].message)
