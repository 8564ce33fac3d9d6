"""The kernel behind a simulated node for other processes: does what they write, over a socket. See child.py."""

import base64
import errno
import json
import socket
import threading
from pathlib import Path
from typing import Self

from qatdp.host.pf.context import isolated
from qatdp.simulator.host.calls import FakeKernelCalls
from qatdp.simulator.host.node import FakeHost


class FakeKernel:
    """A context manager; `folder` has to be a short path. `calls.written` is all that was written."""

    def __init__(self, host: FakeHost, folder: Path) -> None:
        self._host, self.calls = host, FakeKernelCalls(host)
        self._path = str(folder / "kernel.sock")
        self._server = socket.socket(socket.AF_UNIX)

    @property
    def child(self) -> tuple[str, ...]:
        """The command that takes the place of the process that configures a PF."""
        return (*isolated("qatdp.simulator.host.pf_worker"), self._path)

    def __enter__(self) -> Self:
        self._server.bind(self._path)
        self._server.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._host.users.end()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rw") as stream:
                for line in stream:
                    stream.write(json.dumps(self._answer(json.loads(line))) + "\n")
                    stream.flush()
        except OSError:  # the process has ended, in the middle of a write perhaps
            return

    def _answer(self, question: dict[str, str]) -> int:
        try:
            if "open" in question:
                self._open(Path(question["open"]))
            else:
                self.calls.write(Path(question["write"]), base64.b64decode(question["content"]))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _open(self, node: Path) -> None:
        for vf in self._host.scan().vfs:
            if self._host.users.shows(vf.address) and self._host.node(vf.address) == node:
                raise OSError(errno.EBUSY, "busy")
