"""Whatever the kernel's files or a configuration hold, a terminal gets lines of printable characters."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import qatdp.cli
from qatdp.simulator.host.node import FakeHost

Qatdp = Callable[..., Result]

PF = "0000:6b:00.0"
EVIL = "\x1b[2J\x1b]0;owned\x07two\nlines\r\x9b31m"


@pytest.fixture
def evil(host: FakeHost) -> FakeHost:
    """A node whose state, services, and a driver's name a terminal would obey."""
    host.add_pf(PF, vfs=2)
    host.attribute(PF, "qat/cfg_services", f"sym{EVIL}")
    host.attribute(PF, "qat/state", f"down{EVIL}")
    host.add_pf("0000:70:00.0", vfs=1)
    (vf,) = host.vfs("0000:70:00.0")
    driver = host.path(vf, "driver")
    driver.unlink()
    driver.symlink_to(f"../../../bus/pci/drivers/{EVIL}".replace("\x9b", "\udcff"))
    return host


def obeyed(text: str) -> list[str]:
    return [character for character in text if not character.isprintable() and character != "\n"]


def test_devices_shows_no_escape_codes(evil: FakeHost, qatdp: Qatdp) -> None:
    result = qatdp("devices", "--sysfs", evil.sysfs, "--dev", evil.dev)
    assert result.exit_code == 0
    assert obeyed(result.output) == []
    assert r"\x1b[2J\x1b]0;owned\x07two\nlines" in result.stdout
    head, *lines = result.stdout.splitlines()
    assert [line.startswith(("0000:", "PF ", "problem: ")) for line in lines] == [True] * len(lines)
    assert head.startswith("PF ")


def test_provision_shows_no_escape_codes(evil: FakeHost, qatdp: Qatdp, folder: Path) -> None:
    config = folder / "c"
    config.write_text("version: 1\nprovision: [{split: [{services: [dc]}]}]\n")
    where = ("--sysfs", evil.sysfs, "--dev", evil.dev, "--kubelet-dir", folder / "no", "--lock-dir", folder)
    result = qatdp("provision", "--dry-run", *where, "--config", config)
    assert result.exit_code == 0
    assert obeyed(result.output) == []
    assert r"\x1b[2J" in result.stdout


def test_errors_show_no_escape_codes(qatdp: Qatdp, folder: Path) -> None:
    config = folder / "c\x1b[2J"
    config.write_text('version: 1\nresources: [{name: a, "x\\e[2J\\ny": 1}]\n')
    result = qatdp("config", "check", config)
    assert result.exit_code == 2
    assert obeyed(result.output) == []
    assert r"c\x1b[2J: resources[0].x\x1b[2J\ny: unknown key" in result.stderr


def test_commands_write_lines_by_one_function() -> None:
    """All else that commands write is JSON, which escapes by itself."""
    for file in sorted(Path(qatdp.cli.__file__).parent.glob("*.py")):
        for call in [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]:
            if ast.unparse(call.func) in ("click.echo", "print", "click.secho"):
                assert file.name == "table.py" or ast.unparse(call.args[0]).startswith("json.dumps("), file
