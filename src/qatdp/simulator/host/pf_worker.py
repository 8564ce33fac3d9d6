"""The process that configures a PF, on a simulated node: reads its files, and writes by asking the kernel behind it."""

import base64
import json
import os
import socket
import sys
from pathlib import Path

from qatdp.host.calls.portable import PortableCalls
from qatdp.host.pf.worker import die_with, serve


class RemoteCalls(PortableCalls):
    """Writes go to kernel.FakeKernel, by a connection of its own."""

    def __init__(self, path: str) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        self._stream = connection.makefile("rw")

    def write(self, path: Path, content: bytes) -> None:
        self._ask(write=str(path), content=base64.b64encode(content).decode())

    def open_node(self, node: Path) -> int:
        self._ask(open=str(node))
        return os.open(node, os.O_RDWR | os.O_CLOEXEC)

    def _ask(self, **question: str) -> None:
        self._stream.write(json.dumps(question) + "\n")
        self._stream.flush()
        number = json.loads(self._stream.readline())
        if number:
            raise OSError(number, os.strerror(number))


def main() -> None:
    die_with(int(sys.argv[2]))
    calls = RemoteCalls(sys.argv[1])
    serve(sys.stdin, sys.stdout, calls, calls.open_node)
