"""The simulated node that pods come and go on, and the daemon on it, a process of its own as on a node."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from qatdp.core.model.pci import PciAddress
from qatdp.simulator.host.node import FakeHost

QATDP = Path(sys.executable).with_name("qatdp")
CY = "qat.intel.com/cy"
FIRST_PF, SECOND_PF = "0000:6b:00.0", "0000:e8:00.0"
VFS_OF_PF = 16
END_S = 10.0

# `qatdp`, with the simulated node's own processes for configuring PFs.
WITH_CHILD = "import json, sys; from qatdp.cli import main; main(obj=json.loads(sys.argv.pop(1)))"


class MadeNode:
    """PFs with sym;asym in a folder of files; a VF is open while its `enable` is 1, as VFIO has it."""

    def __init__(self, folder: Path, vfs: int) -> None:
        self.host, self.config = FakeHost(folder / "host"), folder / "config.yaml"
        self.pfs = self._add_pfs(vfs)
        self.configure(self.pfs)

    def _add_pfs(self, vfs: int) -> tuple[PciAddress, ...]:
        if vfs <= VFS_OF_PF:
            return (self.host.add_pf(FIRST_PF, vfs=vfs),)
        if vfs == 2 * VFS_OF_PF:
            return self.host.add_pf(FIRST_PF), self.host.add_pf(SECOND_PF, numa_node=1)
        return self._add_domains(vfs)

    def _add_domains(self, vfs: int) -> tuple[PciAddress, ...]:
        whole, rest = divmod(vfs, VFS_OF_PF)
        counts = [VFS_OF_PF] * whole + [rest] * bool(rest)
        return tuple(self.host.add_pf(f"{n:04x}:6b:00.0", vfs=count, numa_node=n % 2) for n, count in enumerate(counts))

    def set_open(self, vf: str, *, is_open: bool) -> None:
        """Let somebody have the VF open, which then cannot be taken away; raises FileNotFoundError where it has gone.

        The file is written in place, as the kernel's are: it is the same for as long as the VF is there.
        """
        users, address = self.host.users, PciAddress.parse(vf)
        with users.kernel:
            file = os.open(self.host.path(vf, "enable"), os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(file, b"1" if is_open else b"0", 0)
            finally:
                os.close(file)
            (users.add if is_open else users.discard)(address)

    def configure(self, cy: Sequence[PciAddress]) -> None:
        """Have the VFs of these PFs offered as cy, and those of all others as `other`."""
        others = [pf for pf in self.pfs if pf not in cy]
        entries = [_entry(pfs, name=name) for name, pfs in (("cy", cy), ("other", others)) if pfs]
        self._write({"version": 1, "resources": entries})

    def provision(self, cy: Sequence[PciAddress]) -> None:
        """Have these PFs made sym;asym, and all others dc, offered as `other`: once no pod has a VF of theirs."""
        others = [pf for pf in self.pfs if pf not in cy]
        split = [_entry(cy)] + ([_entry(others, ["dc"])] if others else [])
        resources = [{"name": "cy", "services": ["sym", "asym"]}, {"name": "other", "services": ["dc"]}]
        spec = {"when": "cordon", "split": split}
        self._write({"version": 1, "resources": resources, "provision": [spec]})

    def _write(self, config: Mapping[str, object]) -> None:
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps(config))  # which is YAML as well
        new.replace(self.config)


def _entry(pfs: Sequence[PciAddress], services: Sequence[str] = ("sym", "asym"), **more: str) -> Mapping[str, object]:
    return {**more, "services": services, "pfs": [str(pf) for pf in pfs]}


class Daemon:
    """`qatdp run`; a context manager that leaves no process behind. `kubelet` is its folder.

    `pod_resources` is a folder, where it is not the kubelet's own. `within` is a command that runs the one behind it.
    `child` is the command of a process that configures a PF, where the daemon is to configure any.
    """

    def __init__(
        self,
        folder: Path,
        node: MadeNode,
        kubelet: Path,
        *,
        pod_resources: Path | None = None,
        log_file: Path | None = None,
        within: Sequence[str] = (),
        child: Sequence[str] = (),
    ) -> None:
        self.socket, self.port = folder / "status.sock", _free_port()
        self._log = log_file or folder / "qatdp.log"
        program = (sys.executable, "-I", "-c", WITH_CHILD, json.dumps(child)) if child else (QATDP,)
        more = ("--provision", "--lock-dir", folder / "locks") if child else ()
        self._program: tuple[str | Path, ...] = (*within, *program, "run", *more)
        self._node: tuple[str | Path, ...] = (
            "--config",
            node.config,
            "--sysfs",
            node.host.sysfs,
            "--dev",
            node.host.dev,
        )
        self._words: tuple[str | Path, ...] = (
            *("--kubelet-dir", kubelet, "--pod-resources", pod_resources or kubelet / "pod-resources"),
            *("--socket", self.socket, "--listen", f"127.0.0.1:{self.port}"),
        )
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            command = (*self._program, *self._node, *self._words)
            self._process = await asyncio.create_subprocess_exec(*command, stderr=log)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> bool:
        """End it by SIGTERM, else by SIGKILL; tell whether the first was enough."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), END_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            return False
        return True

    def status(self) -> int | None:
        """Return the status that it has ended with; None while it runs."""
        assert self._process is not None
        return self._process.returncode

    def resident_bytes(self) -> int:
        """Return how much memory it has."""
        assert self._process is not None
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    async def list_devices(self) -> bool:
        """Run `qatdp devices` on it; tell whether it answered."""
        command = (QATDP, "devices", *self._node, "--socket", self.socket, "--output", "json")
        listing = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            return await listing.wait() == 0
        finally:  # the churn ends while it runs
            if listing.returncode is None:
                listing.kill()
                await listing.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def logged(self) -> Mapping[str, int]:
        """Return how many lines of its log were of warnings or worse, by their first words."""
        counts: dict[str, int] = {}
        for line in self.log().splitlines():
            if any(f" {level} " in line for level in ("WARNING", "ERROR", "CRITICAL")):
                words = " ".join(line.split(" ")[2:6])
                counts[words] = counts.get(words, 0) + 1
        return counts


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
