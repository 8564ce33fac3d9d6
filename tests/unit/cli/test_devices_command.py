"""`qatdp devices` tells of each VF what becomes of it, for people and for programs, and changes nothing."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.report import Fixed, a_device, a_report

from qatdp.core.status.report import Holder, Report
from qatdp.pages.metrics import Metrics
from qatdp.pages.pages import StatusServer, pages
from qatdp.simulator.host.node import FakeHost

Qatdp = Callable[..., Result]

CY_PF, DC_PF, OLD_PF = "0000:6b:00.0", "0000:70:00.0", "0000:3d:00.0"
FIELDS = ["address", "pf", "services", "resource", "numaNode", "iommuGroup", "driver", "node", "health", "reason"]


@pytest.fixture
def listed(qatdp: Qatdp, host: FakeHost) -> Qatdp:
    """Run the command on the simulated node."""

    def run(*words: object, **environment: object) -> Result:
        return qatdp("devices", "--sysfs", host.sysfs, "--dev", host.dev, *words, **environment)

    return run


def rows(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return {row["address"]: row for row in json.loads(result.stdout)["devices"]}


def test_programs_get_all_fields_of_each_vf(listed: Qatdp, host: FakeHost) -> None:
    host.add_pf(CY_PF, vfs=2, numa_node=1)
    result = listed("-o", "json")
    assert list(rows(result)) == ["0000:6b:00.1", "0000:6b:00.2"]
    assert list(rows(result)["0000:6b:00.2"].items()) == [
        ("address", "0000:6b:00.2"),
        ("pf", CY_PF),
        ("services", "asym;sym"),
        ("resource", "qat.intel.com/cy"),
        ("numaNode", 1),
        ("iommuGroup", host.group("0000:6b:00.2")),
        ("driver", "vfio-pci"),
        ("node", f"/dev/vfio/{host.group('0000:6b:00.2')}"),
        ("health", "Healthy"),
        ("reason", None),
        ("message", None),
    ]
    assert json.loads(result.stdout)["problems"] == []


def test_people_get_a_table_with_a_line_for_each_vf(listed: Qatdp, host: FakeHost) -> None:
    host.add_pf(CY_PF, vfs=1)
    host.add_pf(DC_PF, services="dc", vfs=1, vf_driver=None)
    title, cy, dc = listed().stdout.splitlines()
    assert title.split() == "PF VF SERVICES RESOURCE NUMA GROUP DRIVER NODE HEALTH REASON MESSAGE".split()
    number = str(host.group("0000:6b:00.1"))
    node = f"/dev/vfio/{number}"
    assert cy.split() == [
        *(CY_PF, "0000:6b:00.1", "asym;sym", "qat.intel.com/cy", "0", number),
        *("vfio-pci", node, "Healthy", "-", "-"),
    ]
    assert dc.startswith(f"{DC_PF}  0000:70:00.1")
    assert dc.endswith("has no driver (qatdp run --bind gives it to vfio-pci)")
    assert title.index("RESOURCE") == cy.index("qat.intel.com/cy")


def test_why_a_vf_is_not_offered_is_told(listed: Qatdp, host: FakeHost, folder: Path) -> None:
    host.add_pf(CY_PF, vfs=3)
    host.unbind("0000:6b:00.3")
    host.add_pf(DC_PF, services="dc", vfs=1)
    config = folder / "config.yaml"
    config.write_text(
        "version: 1\nhostReserved: [{vfs: 1}]\nresources: [{name: fast, services: [sym, asym], limit: 1}]\n"
    )
    found = rows(listed("-o", "json", "--config", config))
    assert {address: (row["resource"], row["health"], row["reason"]) for address, row in found.items()} == {
        "0000:6b:00.1": (None, None, "HostReserved"),
        "0000:6b:00.2": ("qat.intel.com/fast", "Healthy", None),
        "0000:6b:00.3": (None, None, "NoDriver"),
        "0000:70:00.1": (None, None, "HostReserved"),
    }


def test_devices_without_selectable_services_are_generic(listed: Qatdp, host: FakeHost) -> None:
    host.load_driver("vfio-pci", disable_denylist=True)
    host.add_pf(OLD_PF, "c62x", vfs=1)
    (row,) = rows(listed("-o", "json")).values()
    assert (row["services"], row["resource"]) == (None, "qat.intel.com/generic")


def test_a_vf_of_a_virtual_machine_is_shown_without_a_pf(listed: Qatdp, host: FakeHost) -> None:
    host.add_lone_vf("0000:00:05.0")
    (row,) = rows(listed("-o", "json")).values()
    assert (row["pf"], row["numaNode"], row["resource"]) == (None, None, "qat.intel.com/generic")


def test_a_node_without_vfs_says_so_and_what_its_pfs_lack(listed: Qatdp, host: FakeHost) -> None:
    assert listed().stdout == "no QAT VFs\n"
    host.add_pf(CY_PF, vfs=0)
    host.add_pf(DC_PF, state="down")
    first, *lines = listed().stdout.splitlines()
    assert first == "no QAT VFs"
    assert [line.partition(" has no VFs (qatdp provision ")[0] for line in lines] == [
        f"PF {CY_PF} (4xxx):",
        f"PF {DC_PF} (4xxx):",
    ]
    found = json.loads(listed("-o", "json").stdout)
    assert (found["devices"], found["problems"]) == ([], [])
    assert [(pf["address"], pf["family"], pf["state"], pf["driver"]) for pf in found["pfs"]] == [
        (CY_PF, "4xxx", "up", "4xxx"),
        (DC_PF, "4xxx", "down", "4xxx"),
    ]
    assert {pf["noVfs"] for pf in found["pfs"]} == {"PfNoVfs"}


def test_devices_advise_on_a_pf_that_can_have_no_vfs(listed: Qatdp, host: FakeHost) -> None:
    host.add_pf(CY_PF, vfs=0)
    host.attribute(CY_PF, "sriov_totalvfs", "0")
    host.add_pf(DC_PF, vfs=1)
    host.unbind(DC_PF)
    host.load_driver("uio_pci_generic")
    host.bind(DC_PF, "uio_pci_generic")
    without, given = listed().stdout.splitlines()[1:]
    assert CY_PF in without and "SR-IOV" in without
    assert DC_PF in given and "uio_pci_generic" in given


def test_what_cannot_be_read_is_told_and_waited_for_by_nobody(listed: Qatdp, host: FakeHost) -> None:
    host.add_pf(CY_PF, vfs=2)
    host.fifo("0000:6b:00.1", "numa_node")
    host.attribute(CY_PF, "qat/state", b"\xff")
    result = listed("-o", "json")
    problems = {problem["where"]: problem["message"] for problem in json.loads(result.stdout)["problems"]}
    assert set(problems) == {CY_PF, "0000:6b:00.1"}
    assert "numa_node cannot be read: Invalid argument" in problems["0000:6b:00.1"]
    assert f"problem: {CY_PF}: qat/state is not text" in listed().stdout
    assert "Traceback" not in result.output


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_bus_that_cannot_be_listed_is_status_1_and_no_node_without_vfs(
    qatdp: Qatdp, folder: Path, output: str
) -> None:
    result = qatdp("devices", "--sysfs", folder / "nowhere", "--dev", folder, "-o", output)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"Error: {folder}/nowhere/bus/pci/devices cannot be listed: No such file or directory" in result.stderr
    assert "\nHint: " in result.stderr


def test_it_changes_nothing(listed: Qatdp, host: FakeHost) -> None:
    host.add_pf(CY_PF, vfs=2, vf_driver=None)

    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in host.sysfs.parent.rglob("*")}

    before = state()
    assert listed().exit_code == 0
    assert state() == before


def test_a_configuration_that_is_wrong_is_status_2_with_a_hint(listed: Qatdp, folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text("version: 3\n")
    result = listed("--config", config)
    assert result.exit_code == 2
    assert f"Error: {config}: version: expected 1, got 3\nHint: see: qatdp config schema" in result.stderr
    assert result.stdout == ""


def test_every_option_is_a_variable_as_well(qatdp: Qatdp, host: FakeHost, folder: Path) -> None:
    host.add_pf(CY_PF, vfs=1)
    config = folder / "config.yaml"
    config.write_text("version: 1\nresources: [{name: fast}]\n")
    where = {"QATDP_SYSFS": host.sysfs, "QATDP_DEV": host.dev}
    (row,) = rows(qatdp("devices", QATDP_OUTPUT="json", QATDP_CONFIG=config, **where)).values()
    assert (row["resource"], row["health"]) == ("qat.intel.com/fast", "Healthy")
    # What is said on the command line counts more.
    assert qatdp("devices", "-o", "table", QATDP_OUTPUT="json", **where).stdout.startswith("PF ")


@pytest.mark.parametrize("words", [["--nothing"], ["-o", "xml"], ["surplus"], ["--sysfs"]])
def test_wrong_usage_is_status_2(qatdp: Qatdp, words: list[str]) -> None:
    result = qatdp("devices", *words)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")


# Where a daemon runs


@contextmanager
def a_daemon(report: Report, path: Path) -> Iterator[None]:
    """Answer on a socket, in a thread of its own, as a daemon does that knows this."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(StatusServer(pages(Fixed(report), Metrics()), None, path).on_socket())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    while not path.exists():
        assert thread.is_alive()
        time.sleep(0.001)
    yield
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    loop.close()


def test_the_daemon_is_asked_where_one_runs(qatdp: Qatdp, folder: Path) -> None:
    with a_daemon(a_report(), folder / "s"):
        result = qatdp("devices", "--sysfs", folder, QATDP_SOCKET=folder / "s")
        found = json.loads(qatdp("devices", "--socket", folder / "s", "-o", "json").stdout)
    assert f"As the daemon says, on {folder / 's'}." in result.stderr
    title, held, *_ = result.stdout.splitlines()
    assert title.endswith("HELD BY") and held.endswith('default/pod "x",default/pod')
    assert "health of PF 0000:6b:00.0 is judged without heartbeat: no debugfs" in result.stdout
    assert "PF 0000:70:00.0 is Cordoned, to become dc: 1 VF held by default/pod" in result.stdout
    assert found["history"][0]["what"] == "added"


def test_devices_shows_pods_by_uid_and_the_age_of_the_checkpoint(qatdp: Qatdp, folder: Path) -> None:
    held = a_device("0000:6b:00.1", holders=(Holder(None, None, "main", "0a1b"),))
    report = replace(a_report(), devices=(held,), checkpoint_written_at_s=time.time() - 30)
    with a_daemon(report, folder / "s"):
        result = qatdp("devices", "--socket", folder / "s")
    assert "pod 0a1b" in result.stdout
    assert "checkpoint, 3" in result.stderr


def test_where_no_daemon_answers_it_says_that_it_has_no_history(listed: Qatdp, host: FakeHost, folder: Path) -> None:
    host.add_pf(CY_PF, vfs=1)
    result = listed("--socket", folder / "s", "-o", "json")
    assert "without any history: no daemon answers on" in result.stderr
    assert "holders" not in json.loads(result.stdout)["devices"][0]
    assert "no socket of a daemon is given" in listed().stderr
