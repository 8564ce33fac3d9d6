"""`qatdp provision` on the guest's PFs, as the command and as what it does; and what the PFs are afterwards."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ground import pfs
from ground.daemon import QATDP
from qatdp.core.config.model import parse_config
from qatdp.daemon.provision import Kubelet, Provision
from qatdp.host.calls.choose import host_calls
from qatdp.host.pf.context import CHILD, PfContext
from qatdp.host.pf.locks import LockOwner

STUMBLING = Path(__file__).with_name("stumbling.py")
# `qatdp` with other writers.
WITH_CHILD = "import json, sys; from qatdp.cli import main; main(obj=json.loads(sys.argv.pop(1)))"


@dataclass(frozen=True, slots=True)
class Said:
    """What a run told of each PF, by its address."""

    outcomes: dict[str, str]
    reasons: dict[str, str | None]
    took_s: float


class Stumble(StrEnum):
    """What befalls a writer; see stumbling.py."""

    DIES = "dies"
    ORPHANED = "orphaned"
    HELD_UP = "held up"


class Provisioning:
    """Without other word, no kubelet ever ran on this node: `kubelet` is a folder that nobody made."""

    def __init__(self, folder: Path, locks: Path | None = None) -> None:
        self.locks = locks or folder / "locks"
        self._folder, self._kubelet = folder, folder / "kubelet"

    def start(self, crypto: int, *options: str | Path, child: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
        """Start the command with a wish for so many per cent of the PFs for crypto, and the others for compression."""
        config = self._folder / f"crypto-{crypto}.yaml"
        config.write_text(wish(crypto))
        program = QATDP if child is None else with_child(child)
        where = ("--config", config, "--kubelet-dir", self._kubelet, "--lock-dir", self.locks)
        return subprocess.Popen([*program, "provision", *where, "--output", "json", *options], stdout=subprocess.PIPE)

    def command(self, crypto: int) -> Said:
        since = time.monotonic()
        return said(self.start(crypto), since)

    def run(self, crypto: int, *, kubelet: Path | None = None) -> Said:
        """Do what the command does, but in this process, which is loaded already; the writers are the command's."""
        return self._run(crypto, CHILD, kubelet or self._kubelet)

    def killed(self, crypto: int, places: Mapping[str, int]) -> Said:
        """Run it with writers that die just before the write of that place."""
        return self._run(crypto, self.stumbling(Stumble.DIES, places), self._kubelet)

    def stumbling(self, how: Stumble, places: Mapping[str, int]) -> Sequence[str]:
        return stumbling(self._folder / "stumbling.json", how, places)

    def _run(self, crypto: int, child: Sequence[str], kubelet: Path) -> Said:
        site = PfContext(Path("/sys"), Path("/dev"), self.locks, LockOwner("guest", os.getpid(), "test", "now"), child)
        books = Kubelet(kubelet / "device-plugins", kubelet / "pod-resources")
        since = time.monotonic()
        report = asyncio.run(Provision(parse_config(_wish(crypto)), None, host_calls(), site, books).run())
        outcomes = {str(one.pf): str(one.status) for one in report.outcomes}
        return Said(outcomes, {str(one.pf): one.message for one in report.outcomes}, time.monotonic() - since)


def stumbling(file: Path, how: Stumble, places: Mapping[str, int]) -> Sequence[str]:
    """Return the command of a writer that stumbles just before the write of its PF's place, as the file now says."""
    file.write_text(json.dumps({"how": how, "places": places}))
    return (sys.executable, str(STUMBLING), str(file))


def with_child(child: Sequence[str]) -> Sequence[str]:
    """Return the command that is `qatdp`, but for its writers."""
    return (sys.executable, "-P", "-c", WITH_CHILD, json.dumps(child))


def said(process: subprocess.Popen[bytes], since: float) -> Said:
    """Wait for the command to end well, and return what it said."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    rows = json.loads(output)["pfs"]
    outcomes = {row["pf"]: row["outcome"] for row in rows}
    return Said(outcomes, {row["pf"]: row["message"] for row in rows}, time.monotonic() - since)


def wish(crypto: int) -> str:
    """Return a configuration that wants so many per cent of the PFs for crypto, and the others for compression."""
    return json.dumps(_wish(crypto))  # JSON is YAML


def _wish(crypto: int) -> dict[str, object]:
    split = [{"services": ["sym", "asym"], "percent": crypto}] if crypto else []
    rest = [{"services": ["dc"]}] if crypto < 100 else []
    return {"version": 1, "provision": [{"split": [*split, *rest], "autoReset": True}]}


def writers() -> Sequence[int]:
    """Return the processes that configure PFs, whoever started them, but for those that have ended."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _writes(process)]


def stopped_writer() -> int | None:
    """Return the writer that was stopped, if one is."""
    return next((one for one in writers() if _state(one) == "T"), None)


def hanging_writer() -> int | None:
    """Return the writer that waits in the kernel and cannot be ended, if one does."""
    return next((one for one in writers() if _state(one) == "D"), None)


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has just gone
        return ""


def _writes(process: Path) -> bool:
    try:
        words = (process / "cmdline").read_text().split("\0")  # nothing of one that has ended
    except OSError:  # it has just gone
        return False
    return CHILD[-1] in words or str(STUMBLING) in words[1:2]


# What is on the node, read by plain means, so that a fault of the product's cannot hide itself.


@dataclass(frozen=True, slots=True)
class Seen:
    """A PF. `drivers` are those of its VFs; `nodes` how many character devices these have in /dev/vfio.

    `auto_reset` is as it should be where the kernel has none to set, as before 6.9.
    """

    services: frozenset[str]
    state: str
    auto_reset: str
    vfs: int
    drivers: frozenset[str | None]
    nodes: int


def crypto_pf() -> Seen:
    return Seen(frozenset({"sym", "asym"}), "up", "on", 16, frozenset({"vfio-pci"}), 16)


def compression_pf() -> Seen:
    return Seen(frozenset({"dc"}), "up", "on", 16, frozenset({"vfio-pci"}), 16)


def look() -> dict[str, Seen]:
    return {pf: _look(pf) for pf in pfs.pf_addresses()}


def _look(pf: str) -> Seen:
    vfs = pfs.vf_addresses(pf)
    nodes = {node for vf in vfs if _is_device(node := pfs.group_node(vf))}
    folder = pfs.DEVICES / pf / "qat"
    state = (folder / "state").read_text().strip()
    auto_reset = (folder / "auto_reset").read_text().strip() if (folder / "auto_reset").exists() else "on"
    drivers = frozenset(pfs.driver_of(vf) for vf in vfs)
    return Seen(frozenset(pfs.services_of(pf).split(";")), state, auto_reset, len(vfs), drivers, len(nodes))


def _is_device(node: Path) -> bool:
    return node.exists() and stat.S_ISCHR(node.stat().st_mode)
