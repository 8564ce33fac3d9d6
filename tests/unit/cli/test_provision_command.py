"""`qatdp provision` tells what became of each PF, for people and for programs, and fails only when it is told to."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qatdp.cli import main
from qatdp.host.pf.locks import Lock, LockOwner
from qatdp.simulator.host.kernel import FakeKernel
from qatdp.simulator.host.node import FakeHost

Qatdp = Callable[..., Result]
ONE, TWO = "0000:6b:00.0", "0000:70:00.0"


@pytest.fixture
def provision(host: FakeHost, folder: Path) -> Iterator[Qatdp]:
    """Run the command on a node with two PFs, one of them with VFs."""
    host.add_pf(ONE, vfs=1)
    host.add_pf(TWO, vfs=0, numa_node=1)
    for pf in (ONE, TWO):
        host.attribute(pf, "sriov_totalvfs", "1")
    config = folder / "config.yaml"
    config.write_text("version: 1\nprovision: [{split: [{services: [sym, asym], percent: 50}, {services: [dc]}]}]\n")

    def run(*words: object) -> Result:
        where = ("--sysfs", host.sysfs, "--dev", host.dev, "--kubelet-dir", folder / "no", "--lock-dir", folder / "run")
        arguments = [str(word) for word in ("provision", *where, "--config", config, *words)]
        return CliRunner().invoke(main, arguments, obj=kernel.child, prog_name="qatdp")

    with FakeKernel(host, folder) as kernel:
        yield run


def test_people_get_a_table_with_a_line_for_each_pf(provision: Qatdp) -> None:
    title, one, two = provision().stdout.splitlines()
    assert title.split() == "PF FAMILY NUMA SERVICES DESIRED OUTCOME REASON MESSAGE".split()
    assert one.split() == [ONE, "4xxx", "0", "asym;sym", "asym;sym", "Unchanged", "-", "-"]
    assert two.split()[:6] == [TWO, "4xxx", "1", "asym;sym", "dc", "Changed"]
    assert two.endswith("down, services dc, up, autoprobe off, enable VFs, bind to vfio-pci")


def test_a_dry_run_tells_the_steps_and_changes_nothing(provision: Qatdp, host: FakeHost) -> None:
    result = provision("--dry-run", "-o", "json", "--strict")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["rounded"], told["unmet"]) == ([], [])
    assert told["pfs"][0]["steps"] == []
    assert told["pfs"][1] == {
        "pf": TWO,
        "family": "4xxx",
        "numaNode": 1,
        "services": "asym;sym",
        "desired": "dc",
        "outcome": "Planned",
        "reason": None,
        "message": "down, services dc, up, autoprobe off, enable VFs, bind to vfio-pci",
        "steps": ["down", "services dc", "up", "autoprobe off", "enable VFs", "bind to vfio-pci"],
    }
    assert host.vfs(TWO) == ()


@pytest.mark.parametrize("words", [(), ("--strict",), ("--dry-run",)])
def test_provision_fails_when_sysfs_cannot_be_listed(provision: Qatdp, folder: Path, words: tuple[str, ...]) -> None:
    result = provision("--sysfs", folder / "nowhere", *words)
    assert result.exit_code == 1
    assert f"{folder}/nowhere/bus/pci/devices" in result.stderr
    assert result.stdout == ""


def test_provision_is_done_on_a_node_without_qat(provision: Qatdp, host: FakeHost) -> None:
    for pf in (ONE, TWO):
        host.remove(pf)
    result = provision("--strict")
    assert (result.exit_code, result.stdout) == (0, "no QAT PFs\n")


def test_a_pf_that_fails_fails_the_command_only_where_that_is_asked_for(
    provision: Qatdp, host: FakeHost, folder: Path
) -> None:
    lock = Lock(folder / "run", f"{TWO}.lock", LockOwner("other", 7, "run", "long ago"))
    for words, status in (((), 0), (("--strict",), 1)):
        result = provision(*words)
        assert "Busy" in result.stdout
        assert "other (process 7, run) configures it since long ago" in result.stdout
        assert result.exit_code == status
    lock.close()
    assert provision("--strict").exit_code == 0
    assert len(host.vfs(TWO)) == 1


def test_what_the_node_cannot_be_is_told_below_the_table(provision: Qatdp, folder: Path) -> None:
    config = folder / "other.yaml"
    config.write_text(
        "version: 1\nprovision: [{split: [{services: [sym], percent: 25}, {services: [dc], count: 3}]}]\n"
    )
    lines = provision("--dry-run", "--config", config).stdout.splitlines()
    assert lines[-2:] == [
        "rounded: split[0]: its share of 2 PFs is 0.5: made 1",
        "not met: split[1]: 3 PFs are to be dc, but 1 can be",
    ]


def test_a_node_takes_what_is_next_once_the_percentage_has_come_to_its_name(provision: Qatdp, folder: Path) -> None:
    config = folder / "other.yaml"
    parts = "current: {split: [{services: [sym, asym]}]}, next: {split: [{services: [dc]}]}"
    told = {}
    for percent in (0, 100):
        config.write_text(f"version: 1\nprovision: [{{{parts}, rollout: {{percent: {percent}}}}}]\n")
        result = provision("--dry-run", "-o", "json", "--config", config, "--node-name", "qat-1")
        told[percent] = {row["desired"] for row in json.loads(result.stdout)["pfs"]}
    assert told == {0: {"asym;sym"}, 100: {"dc"}}
    nameless = provision("--dry-run", "--config", config)
    assert nameless.exit_code == 2
    assert "provision[0].rollout: this node's name is not known" in nameless.stderr
    assert "--node-name" in nameless.stderr


def test_a_node_without_qat_is_no_failure(qatdp: Qatdp, host: FakeHost) -> None:
    result = qatdp("provision", "--sysfs", host.sysfs, "--dev", host.dev, "--strict")
    assert (result.exit_code, result.stdout) == (0, "no QAT PFs\n")
