"""Which pages there are, at which addresses they are served, and for how long.

/healthz  the loop runs: where it is stuck, nobody answers, and the kubelet starts the container anew. Whatever is sick
          on the machine is no reason: a restart would mend nothing and cost the streams.
/readyz   every resource is registered, with an open stream.
/metrics  for Prometheus.
/status   everything, as JSON.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from qatdp.core.report import Report, plain
from qatdp.status.http import JSON, REQUEST_BYTES, Answer, Pages, PageServer
from qatdp.status.metrics import CONTENT_TYPE, Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; no host means all of this network namespace's addresses, port 0 any that is free."""

    host: str | None
    port: int


def pages(report: Callable[[], Report], metrics: Metrics) -> Pages:
    """Return the pages. They are made of what is in memory: nothing that is asked here asks anybody else."""

    def ready() -> Answer:
        reasons = report().not_ready
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return Answer("".join(f"{line}\n" for line in reasons or ("ready",)).encode(), status)

    return {
        "/healthz": lambda: Answer(b"ok\n"),
        "/readyz": ready,
        "/metrics": lambda: Answer(metrics.text(report()), content_type=CONTENT_TYPE),
        "/status": lambda: Answer(json.dumps(plain(report())).encode() + b"\n", content_type=JSON),
    }


class StatusServer:
    """Serves pages on an address, on a Unix socket, on both or on neither. `port` is known once it listens."""

    def __init__(self, of: Pages, listen: Address | None, path: Path | None) -> None:
        self._server = PageServer(of)
        self._listen, self._path = listen, path
        self.port: int | None = None

    async def on_address(self) -> None:
        """Serve on the address until cancelled. OSError where that cannot be had."""
        if self._listen is None:
            return
        serve = self._server.serve_one
        async with await asyncio.start_server(
            serve, self._listen.host, self._listen.port, limit=REQUEST_BYTES
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            log.info("status page port=%d", self.port)
            await server.serve_forever()

    async def on_socket(self) -> None:
        """Serve on the socket until cancelled; it goes then, unless it is another daemon's by now."""
        if self._path is None:
            return
        async with (
            _socket(self._path) as listener,
            await asyncio.start_unix_server(self._server.serve_one, sock=listener, limit=REQUEST_BYTES) as server,
        ):
            log.info("status page path=%s", self._path)
            await server.serve_forever()


@contextlib.asynccontextmanager
async def _socket(path: Path) -> AsyncIterator[socket.socket]:
    """Make a socket for root alone, in place of whatever a former daemon left; it comes into being with its mode."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{secrets.token_hex(4)}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mine: int | None = None
    try:
        listener.bind(str(new))
        new.chmod(0o600)
        listener.listen()
        new.rename(path)
        mine = os.stat(path).st_ino
        yield listener
    finally:
        listener.close()
        new.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == mine:
                os.unlink(path)
