"""What a running daemon tells of itself: true while it serves, and told while it cannot look."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.stage import CY, Stage

from qatdp.core.model.ranges import as_ranges
from qatdp.core.release.protocol import Step
from qatdp.core.status.report import Holder, Report
from qatdp.host.calls.portable import PortableCalls
from qatdp.pages.client import ask
from qatdp.simulator.host.calls import PassingCalls
from qatdp.simulator.kubelet import Call, Pod

PF = "0000:6b:00.0"


@pytest.fixture
def shown(stage: Stage) -> Stage:
    """A stage with a PF, whose daemon shows its status."""
    stage.host.add_pf(PF, vfs=4)
    stage.settings = replace(stage.settings, socket=stage.folder / "s")
    return stage


async def page(stage: Stage, path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(stage.folder / "s"))
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def lists(stage: Stage) -> int:
    """Count the PodResources Lists that the kubelet has served."""
    return sum(passage.call is Call.LIST for passage in stage.kubelet.asked)


async def test_no_client_makes_the_kubelet_list_pods(shown: Stage) -> None:
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    await shown.give(CY)
    await asyncio.gather(*(page(shown, path) for path in ("/status", "/metrics", "/readyz", "/healthz") * 8))
    await shown.scanned(5)
    assert lists(shown) == 0


async def test_the_start_does_not_make_the_kubelet_list_pods(shown: Stage) -> None:
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    await shown.give(CY)
    await shown.restart_daemon()
    await shown.until(lambda: Step.HELD in {shown.step(vf) for vf in shown.host.vfs(PF)})
    assert lists(shown) == 0


def report(stage: Stage) -> Report:
    return stage.daemon.status.report()


async def test_it_tells_who_holds_which_vf_and_how_far_a_withdrawal_is(shown: Stage) -> None:
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    assert report(shown).not_ready == ()
    pod, (held,) = await shown.give(CY)
    await shown.until(lambda: holders(shown) == {str(held): (Holder(None, None, "main", pod.uid),)})
    shown.configure("version: 1\nresources: [{name: fast}]")
    await shown.until(lambda: shown.step(held) is Step.CORDONED)
    (row,) = [one for one in report(shown).devices if one.address == str(held)]
    assert (row.resource, row.hold, row.withdrawing) == (CY, "Cordoned", True)


def holders(stage: Stage) -> dict[str, tuple[Holder, ...]]:
    return {device.address: device.holders for device in report(stage).devices if device.holders}


async def test_holders_have_the_name_of_the_pods_log_folder(shown: Stage) -> None:
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    pod, (held,) = await shown.give(CY)
    await shown.until(lambda: str(held) in holders(shown))
    (shown.settings.pod_logs / f"ns_a-pod_{pod.uid}").mkdir(parents=True)
    await shown.until(lambda: holders(shown) == {str(held): (Holder("ns", "a-pod", "main", pod.uid),)})


async def test_holders_have_the_name_that_a_list_for_a_release_gave(shown: Stage) -> None:
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    pod, (held,) = await shown.give(CY)
    await shown.until(lambda: str(held) in holders(shown))
    assert report(shown).pods_listed_at_s is None
    shown.configure("version: 1\nresources: [{name: fast}]")
    await shown.until(lambda: holders(shown) == {str(held): (Holder("default", "pod", "main", pod.uid),)})
    assert report(shown).pods_listed_at_s is not None


async def test_holders_are_as_of_a_checkpoint_with_its_age(shown: Stage) -> None:
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    await shown.give(CY)
    checkpoint = shown.kubelet.plugins / "kubelet_internal_checkpoint"
    await shown.until(lambda: report(shown).checkpoint_written_at_s == checkpoint.stat().st_mtime)
    assert report(shown).checkpoint_error is None
    checkpoint.write_text("{")
    await shown.until(lambda: "is not understood" in (report(shown).checkpoint_error or ""))
    assert holders(shown), "what was known stays"


async def test_history_says_what_was_and_why(shown: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    shown.host.unbind(shown.host.vfs(PF)[0])
    await shown.lists(CY, shown.host.vfs(PF)[1:], shown.host.vfs(PF)[:1])
    # A scan can come between the two things that go with an unbind: the node, and the driver.
    await shown.until(lambda: report(shown).history[-1].reason == "NoDriver")
    first, last = report(shown).history[0], report(shown).history[-1]
    assert (first.what, first.resource, first.count) == ("Added", CY, 4)
    assert first.devices == (as_ranges(shown.host.vfs(PF)),) == ("0000:6b:00.1-0000:6b:00.4 (4)",)
    assert any(line.endswith("is=Added vfs=0000:6b:00.1-0000:6b:00.4 (4)") for line in caplog.messages)
    assert (last.what, last.devices) == ("Unhealthy", (str(shown.host.vfs(PF)[0]),))


async def test_it_is_not_ready_before_each_resource_has_its_stream(shown: Stage) -> None:
    await shown.kubelet.kill()
    await shown.start_daemon()
    await shown.until(lambda: bool(report(shown).endpoints))
    (reason,) = report(shown).not_ready
    assert reason.startswith(f"{CY} is ")
    await shown.kubelet.start()
    await shown.until(lambda: report(shown).not_ready == ())


async def test_calls_are_counted(shown: Stage) -> None:
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    await shown.kubelet.admit(Pod.of(cy=1))
    text = shown.daemon.status.metrics.text(report(shown)).decode()
    found = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert [(one.labels["outcome"], one.value) for one in found["qatdp_allocations"]] == [("granted", 1)]
    assert [(one.labels["outcome"], one.value) for one in found["qatdp_registrations"]] == [("taken", 1)]
    assert [one.value for one in found["qatdp_endpoint_registered"]] == [1]
    (scans,) = [one.value for one in found["qatdp_scan_duration_seconds"] if one.name.endswith("_count")]
    assert scans >= 1


class _Hanging(PassingCalls):
    """Hangs until released, from the first call on."""

    def __init__(self) -> None:
        super().__init__(PortableCalls())
        self.released = threading.Event()

    def before(self, call: str, path: Path) -> None:
        self.released.wait()


async def test_it_answers_while_the_first_look_hangs_and_says_so(shown: Stage) -> None:
    shown.calls = calls = _Hanging()
    await shown.start_daemon()
    found = None
    async with asyncio.timeout(10):
        while found is None:
            with suppress(OSError):
                found = await asyncio.to_thread(ask, shown.folder / "s")
    assert found["scannedAt"] is None
    hangs = ("the first look at the node has not come back yet",)
    await shown.until(lambda: report(shown).not_ready == hangs)  # the configuration is read before
    await shown.end_daemon()
    calls.released.set()


async def test_an_address_that_cannot_be_had_costs_no_device(shown: Stage, caplog: pytest.LogCaptureFixture) -> None:
    (shown.folder / "file").write_text("")
    shown.settings = replace(shown.settings, socket=shown.folder / "file/s")
    await shown.start_daemon()
    await shown.offers(CY, shown.host.vfs(PF))
    assert "status page unavailable" in caplog.text and "Traceback" not in caplog.text
