"""Which pages there are, where each is served, and for how long.

/healthz  the loop runs: where it is stuck, nobody answers, and the kubelet starts the container again. Whatever is sick
          on the machine is no reason: a restart would mend nothing and cost the streams.
/readyz   every resource is registered, with an open stream.
/metrics  for Prometheus.
/status   everything, as JSON. It names pods: on the socket, which is root's, and elsewhere only where that is desired.

The first two are made at once for each that asks. The others take their time (rendering.py).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from qatdp.core.status.report import Report
from qatdp.pages.http import JSON, Answer, Page, Pages, PageServer, error_page
from qatdp.pages.listen import LOOK_S, Address, on_address, own_socket, until_free, until_taken
from qatdp.pages.metrics import CONTENT_TYPE, Metrics
from qatdp.pages.rendering import PERIOD_S, Rendering, render_thread
from qatdp.pages.text import StatusText

log = logging.getLogger(__name__)

__all__ = ["Address", "Source", "StatusServer", "pages"]

STATUS = "/status"
ON_SOCKET = "it names pods, so it is on the daemon's socket alone (qatdp devices -o json), without run --listen-status"


class Source(Protocol):
    """What is known, in memory. Both are called on the event loop and return at once."""

    def not_ready(self) -> Sequence[str]:
        """Return why pods cannot be served yet."""

    def freeze(self) -> Callable[[], Report]:
        """Return what makes the report of this very moment, later and in any thread."""


def pages(source: Source, metrics: Metrics, *, period_s: float = PERIOD_S) -> Pages:
    """Return the pages. They are made of what is in memory: nothing that is asked here asks anybody else."""
    thread, status_text = render_thread(), StatusText()

    async def healthy() -> Answer:
        return Answer(b"ok\n")

    async def ready() -> Answer:
        reasons = source.not_ready()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return Answer("".join(f"{line}\n" for line in reasons or ("ready",)).encode(), status)

    def rendered(answer: Callable[[Report], Answer]) -> Page:
        def take() -> Callable[[], Answer]:
            make = source.freeze()
            return lambda: answer(make())

        return Rendering(take, thread, period_s)

    return {
        "/healthz": healthy,
        "/readyz": ready,
        "/metrics": rendered(lambda report: Answer(metrics.text(report), content_type=CONTENT_TYPE)),
        STATUS: rendered(lambda report: Answer(status_text.of(report).encode() + b"\n", content_type=JSON)),
    }


async def _on_socket_alone() -> Answer:
    return error_page(HTTPStatus.FORBIDDEN, ON_SOCKET)


class StatusServer:
    """Serves pages on an address, on a Unix socket, on both or on neither. `port` is known once it listens.

    Each has connections of its own, so that nobody on the network takes one from root.
    """

    def __init__(
        self,
        of: Pages,
        listen: Address | None,
        path: Path | None,
        *,
        status_on_address: bool = False,
        look_s: float = LOOK_S,
    ) -> None:
        self._pages, self._look_s = of, look_s
        self._on_address = of if status_on_address else {**of, STATUS: _on_socket_alone}
        self._listen, self._path = listen, path
        self.port: int | None = None

    async def on_address(self) -> None:
        """Serve on the address until cancelled. OSError where that cannot be had."""
        if self._listen is None:
            return
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(listener) for listener in await on_address(self._listen)]
            self.port = listeners[0].getsockname()[1]
            log.info("status page port=%d", self.port)
            await PageServer(self._on_address).serve(*listeners)

    async def on_socket(self) -> None:
        """Serve on the socket until cancelled. A newer daemon may have it, until that has ended."""
        while self._path:
            with own_socket(self._path) as (listener, mine):
                log.info("status page path=%s", self._path)
                await _first(PageServer(self._pages).serve(listener), until_taken(self._path, mine, self._look_s))
            log.warning("status socket was taken over or removed path=%s", self._path)
            await until_free(self._path, self._look_s)


async def _first(*works: Coroutine[object, object, None]) -> None:
    """Do these until one of them ends; then the others are cancelled, and what it raised is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
