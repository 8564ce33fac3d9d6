"""The line between crypto and compression moves while pods run: no pod notices, and no VF is in two lists."""

import errno
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.stage import CY, DC, Stage

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import in_order
from qatdp.core.provision.cordon import Drain
from qatdp.core.provision.outcome import PfResult, Status
from qatdp.core.provision.planner import PfPlan
from qatdp.core.provision.progress import Phase
from qatdp.core.release.protocol import Step
from qatdp.daemon import reconciler
from qatdp.daemon.settings import Managing
from qatdp.host.pf.context import PfContext, PfTiming
from qatdp.host.pf.locks import NODE_LOCK, Lock, LockOwner
from qatdp.simulator.host.kernel import FakeKernel
from qatdp.simulator.host.node import FakeHost
from qatdp.simulator.kubelet import Call, Pod

PFS = ("0000:6b:00.0", "0000:70:00.0", "0000:75:00.0", "0000:7a:00.0")
WHO = LockOwner("me", 1, "run", "now")


def spec(dc: int, **more: object) -> str:
    keys = "".join(f", {key}: {value}" for key, value in more.items())
    return f"version: 1\nprovision: [{{split: [{{services: [dc], count: {dc}}}, {{services: [sym, asym]}}]{keys}}}]\n"


def services(host: FakeHost) -> list[str]:
    return [";".join(in_order(pf.services or ())) for pf in host.scan().pfs]


@pytest.fixture
def kernel(stage: Stage, folder: Path) -> Iterator[FakeKernel]:
    with FakeKernel(stage.host, folder) as kernel:
        site = PfContext(stage.host.sysfs, stage.host.dev, folder / "locks", WHO, kernel.child, PfTiming(pause_s=0.01))
        managing = Managing(site, look_s=0.01, lock_s=0.05, first_rest_s=0.1)
        stage.settings = replace(stage.settings, provision=managing)
        yield kernel


@pytest.fixture
async def node(stage: Stage, kernel: FakeKernel) -> Stage:
    """Four PFs of two VFs for crypto, as is desired, and the daemon serves them."""
    for pf in PFS:
        stage.host.add_pf(pf, vfs=2)
        stage.host.attribute(pf, "sriov_totalvfs", "2")
    stage.configure(spec(0))
    await stage.start_daemon()
    await stage.offers(CY, of(stage, *PFS))
    assert kernel.calls.written == []
    return stage


def of(stage: Stage, *pfs: str) -> list[PciAddress]:
    return [vf for pf in pfs for vf in stage.host.vfs(pf)]


async def test_from_bare_pfs_to_what_is_wished(stage: Stage, kernel: FakeKernel) -> None:
    for pf in PFS:
        stage.host.add_pf(pf, vfs=0)
        stage.host.attribute(pf, "sriov_totalvfs", "2")
    stage.configure(spec(2))
    await stage.start_daemon()
    await stage.until(lambda: sorted(services(stage.host)) == ["asym;sym", "asym;sym", "dc", "dc"])
    await stage.until(lambda: len(stage.kubelet.offered(CY)) == len(stage.kubelet.offered(DC)) == 4)


async def test_manage_leaves_pf_without_sriov_alone(stage: Stage, kernel: FakeKernel) -> None:
    for pf, total in zip(PFS[:3], ("0", "2", "2"), strict=True):
        stage.host.add_pf(pf, vfs=0)
        stage.host.attribute(pf, "sriov_totalvfs", total)
    stage.configure(spec(1))
    await stage.start_daemon()
    await stage.until(lambda: len(stage.kubelet.offered(CY)) == len(stage.kubelet.offered(DC)) == 2)
    assert not any(PFS[0] in path for path, _ in kernel.calls.written)


async def test_idle_pfs_change_and_their_vfs_come_up_under_the_new_name(node: Stage) -> None:
    node.configure(spec(2))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 4)
    await node.until(lambda: len(node.kubelet.offered(CY)) == 4)
    assert sorted(services(node.host)) == ["asym;sym", "asym;sym", "dc", "dc"]
    node.configure(spec(0))
    await node.offers(CY, of(node, *PFS))


async def test_a_pf_that_a_pod_uses_is_waited_for_and_stays_healthy(node: Stage) -> None:
    pod, held = await node.give(CY)
    (pf,) = {node.host.scan().vf(vf).pf for vf in held}  # type: ignore[union-attr]
    mine = [vf for vf in of(node, *PFS) if node.host.scan().vf(vf).pf == pf]  # type: ignore[union-attr]
    node.configure(spec(4))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 6)
    await node.offers(CY, mine)  # idle: what is free of it is offered as well
    assert services(node.host).count("dc") == 3
    await node.kubelet.remove(pod)
    await node.until(lambda: len(node.kubelet.offered(DC)) == 8)
    assert (await node.kubelet.admit(Pod.of(dc=8))).admitted


async def test_while_a_pod_has_its_vf_open_the_kubelet_is_not_asked_whether_it_has_ended(node: Stage) -> None:
    pod, (held,) = await node.give(CY)
    node.host.open_vf(held)
    node.configure(spec(4))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 6)
    await node.scanned(2)
    asked = len(node.kubelet.passed(Call.LIST))
    await node.scanned(20)
    assert len(node.kubelet.passed(Call.LIST)) == asked
    await node.kubelet.remove(pod)
    await node.scanned(2)
    node.host.close_vf(held)
    await node.until(lambda: len(node.kubelet.offered(DC)) == 8)


async def test_drained_pfs_give_nothing_more_to_pods(node: Stage) -> None:
    pod, held = await node.give(CY)
    node.configure(spec(4, when="cordon"))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 6)
    await node.offers(CY, held)
    await node.kubelet.remove(pod)
    await node.until(lambda: len(node.kubelet.offered(DC)) == 8)


async def test_what_is_to_change_is_told_each_time_that_it_is(node: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    told = "PF change scheduled pf=0000:6b:00.0 goal='dc'"
    for times in (1, 2):
        node.configure(spec(4))
        await node.until(lambda: len(node.kubelet.offered(DC)) == 8)
        node.configure(spec(0))
        await node.offers(CY, of(node, *PFS))
        assert caplog.text.count(told) == times


async def test_a_drain_that_a_pod_would_keep_for_ever_is_given_back(
    node: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pod, held = await node.give(CY)
    (pf,) = {vf.pf for vf in node.host.scan().vfs if vf.address in held and vf.pf}
    node.configure(spec(4, when="cordon", cordonTimeoutSeconds=1000))
    await node.until(lambda: node.node.progress[pf].phase is Phase.CORDONED)
    given_back = Drain.given_back
    monkeypatch.setattr(Drain, "given_back", lambda drain, now_s: given_back(drain, now_s + 1000))
    await node.offers(CY, of(node, str(pf)))
    assert node.node.progress[pf].phase is Phase.UNCORDONED
    assert "PF in use, change postponed (cordon timed out)" in caplog.text
    await node.kubelet.remove(pod)
    await node.until(lambda: len(node.kubelet.offered(DC)) == 8)


async def test_who_looks_is_told_whom_a_pf_waits_for(node: Stage) -> None:
    node.settings = replace(node.settings, socket=node.folder / "s")
    await node.restart_daemon()
    await node.offers(CY, of(node, *PFS))
    pod, held = await node.give(CY)
    (pf,) = {str(vf.pf) for vf in node.host.scan().vfs if vf.address in held}
    node.host.open_vf(held[0])  # so that the kubelet is not asked for names

    def told() -> str | None:
        return {one.address: one.progress for one in node.daemon.status.report().pfs}[pf]

    node.configure(spec(4, when="cordon"))
    await node.until(lambda: told() == f"Cordoned, to become dc: 1 VF held by pod {pod.uid}")
    (node.settings.pod_logs / f"default_pod_{pod.uid}").mkdir(parents=True)
    await node.until(lambda: told() == "Cordoned, to become dc: 1 VF held by default/pod")


def rollout(percent: int) -> str:
    parts = "current: {split: [{services: [sym, asym]}]}, next: {split: [{services: [dc]}]}"
    return f"version: 1\nprovision: [{{{parts}, rollout: {{percent: {percent}}}}}]\n"


async def test_a_node_follows_a_rollout_there_and_back(node: Stage) -> None:
    assert node.settings.provision
    node.settings = replace(node.settings, provision=replace(node.settings.provision, node="qat-1"))
    await node.restart_daemon()
    node.configure(rollout(100))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 8)
    node.configure(rollout(0))
    await node.offers(CY, of(node, *PFS))


async def test_a_node_whose_name_is_not_known_follows_no_rollout_and_says_so(
    node: Stage, kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    node.configure(rollout(100))
    await node.until(lambda: "provision[0].rollout: this node's name is not known" in caplog.text)
    assert kernel.calls.written == []
    await node.offers(CY, of(node, *PFS))


async def test_a_wish_that_is_taken_back_gives_the_vfs_back(node: Stage, kernel: FakeKernel) -> None:
    pod, held = await node.give(CY)
    node.configure(spec(4, when="cordon"))
    await node.until(lambda: node.step(held[0]) is not Step.HELD)
    node.configure(spec(0))
    await node.offers(CY, of(node, *PFS))
    await node.kubelet.remove(pod)
    await node.scanned(3)
    assert services(node.host) == ["asym;sym"] * 4


async def test_a_pf_that_fails_is_offered_as_it_was_and_the_others_change(node: Stage) -> None:
    node.host.refusals[PciAddress.parse(PFS[0]), "qat/cfg_services dc"] = errno.EINVAL
    node.configure(spec(4))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 6)
    await node.until(lambda: len(node.kubelet.offered(CY)) == 2)
    assert services(node.host) == ["asym;sym", "dc", "dc", "dc"]


async def test_a_pf_that_failed_does_not_rest_from_another_wish(node: Stage) -> None:
    assert node.settings.provision
    await node.end_daemon()
    node.settings = replace(
        node.settings, provision=replace(node.settings.provision, first_rest_s=1000, longest_rest_s=1000)
    )
    await node.start_daemon()
    refusal = PciAddress.parse(PFS[0]), "qat/cfg_services dc"
    node.host.refusals[refusal] = errno.EINVAL
    node.configure(spec(4))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 6)
    await node.until(lambda: node.node.progress[refusal[0]].phase is Phase.BACKING_OFF)
    del node.host.refusals[refusal]
    node.configure(spec(4, maxUnavailable=2))
    await node.until(lambda: len(node.kubelet.offered(DC)) == 8)


async def test_a_pf_that_shows_unchanged_what_was_written_rests_and_is_offered_again(
    node: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = []

    async def pretend(plans: Sequence[PfPlan], site: PfContext) -> tuple[PfResult, ...]:
        written.append(plans)
        return tuple(PfResult(one.address, Status.CHANGED) for one in plans)

    monkeypatch.setattr(reconciler, "configure", pretend)
    assert node.settings.provision
    node.settings = replace(node.settings, provision=replace(node.settings.provision, first_rest_s=60.0))
    await node.restart_daemon()
    node.configure(spec(1))
    await node.until(lambda: "the node shows that this is still to be done" in caplog.text)
    await node.offers(CY, of(node, *PFS))
    assert len(written) == 1


async def test_where_locks_cannot_be_made_it_says_so_and_serves(
    node: Stage, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "file").write_text("")
    assert node.settings.provision
    site = replace(node.settings.provision.site, locks=folder / "file")
    node.settings = replace(node.settings, provision=replace(node.settings.provision, site=site))
    await node.restart_daemon()
    await node.until(lambda: "see --lock-dir" in caplog.text)
    await node.offers(CY, of(node, *PFS))


async def test_while_another_one_configures_the_node_it_waits_and_says_who(
    node: Stage, kernel: FakeKernel, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await node.end_daemon()
    lock = Lock(folder / "locks", NODE_LOCK, LockOwner("qatdp-other", 7, "run", "long ago"))
    node.configure(spec(2))
    await node.start_daemon()
    await node.until(lambda: "qatdp-other (process 7, run) configures it since long ago" in caplog.text)
    await node.offers(CY, of(node, *PFS))
    assert kernel.calls.written == []
    lock.close()
    await node.until(lambda: len(node.kubelet.offered(DC)) == 4)


async def test_a_pf_that_was_reset_is_brought_back_as_it_was(node: Stage) -> None:
    """As by kernels that keep no VFs over a reset: all are taken away and made again, on no driver."""
    again, others = PFS[1], [vf for vf in of(node, *PFS) if vf not in node.host.vfs(PFS[1])]
    node.host.set_state(again, "down")
    await node.offers(CY, others)
    node.host.set_state(again, "up")
    node.host.add_vfs(again, 2, driver=None)
    await node.offers(CY, of(node, *PFS))
    # The daemon may have brought it up itself meanwhile, and made its VFs once more.
    await node.until(lambda: {node.host.driver(vf) for vf in node.host.vfs(again)} == {"vfio-pci"})
    assert services(node.host) == ["asym;sym"] * 4


async def test_a_pf_that_a_reset_left_down_is_brought_back_too(node: Stage) -> None:
    node.host.set_state(PFS[1], "down")
    await node.until(lambda: len(node.host.vfs(PFS[1])) == 2)
    await node.offers(CY, of(node, *PFS))


async def test_a_daemon_that_ends_in_the_middle_goes_on_where_the_node_is(node: Stage) -> None:
    node.configure(spec(4))
    for _ in range(4):
        changed = services(node.host).count("dc")
        await node.until(lambda: services(node.host).count("dc") > changed or changed == 4)  # noqa: B023
        await node.restart_daemon()
    await node.until(lambda: len(node.kubelet.offered(DC)) == 8)
