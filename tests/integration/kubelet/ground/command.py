"""`qatdp run` as a process of its own, as on a node: what cannot be done to a daemon in the test's own process."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Self

from ground.waiting import until

QATDP = Path(sys.executable).with_name("qatdp")
END_S = 10.0


class Command:
    """A context manager that leaves no process behind. `host` is a simulated node's folder, `kubelet` a kubelet's."""

    def __init__(self, host: Path, kubelet: Path, log_file: Path) -> None:
        self._log_file = log_file
        self._words = ("--sysfs", host / "sys", "--dev", host / "dev", "--kubelet-dir", kubelet)
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(QATDP, "run", *self._words, stderr=log)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, if it runs, and return its status once it has ended."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(END_S):
            return await self._process.wait()

    async def until_logged(self, text: str) -> None:
        await until(f"{text!r} in the log", lambda: text in self.log())

    def log(self) -> str:
        return self._log_file.read_text()
