"""One long-running program of the node, with its log in a file that the host sees as well."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


class Process:
    """A program that can be started, stopped, killed and started again; its log goes on over these."""

    def __init__(self, name: str, command: Sequence[str | Path], logs: Path) -> None:
        self.name = name
        self.log_file = logs / f"{name}.log"
        self.log_file.write_bytes(b"")
        self._command = [str(word) for word in command]
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self._running is None, f"{self.name} runs already"
        with open(self.log_file, "ab") as log:
            self._running = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, *, timeout_s: float = 30) -> int:
        """End it by SIGTERM and return its exit status; raises subprocess.TimeoutExpired when it does not leave."""
        return self._end(signal.SIGTERM, timeout_s)

    def close(self) -> None:
        """End it if a test has left it running."""
        if self._running is not None:
            self.stop()

    def kill(self) -> int:
        """End it by SIGKILL."""
        return self._end(signal.SIGKILL, 10)

    def _end(self, number: signal.Signals, timeout_s: float) -> int:
        assert self._running is not None, f"{self.name} does not run"
        self._running.send_signal(number)
        status = self._running.wait(timeout_s)
        self._running = None
        return status

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} does not run"
        return self._running.pid

    @property
    def runs(self) -> bool:
        """Return whether it was started, and has not been seen to have ended."""
        return self._running is not None

    def ended(self) -> int | None:
        """Return the status of one that has ended by itself, which can then be started again; None while it runs."""
        assert self._running is not None, f"{self.name} does not run"
        if (status := self._running.poll()) is not None:
            self._running = None
        return status

    def check(self) -> None:
        """Raise RuntimeError with the end of its log if it ended by itself."""
        if self._running is not None and (status := self._running.poll()) is not None:
            raise RuntimeError(f"{self.name} ended with status {status}:\n{self.log()[-2000:]}")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")
