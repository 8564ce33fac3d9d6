"""A server for a few small pages: HTTP/1.1, GET and HEAD, one request a connection.

On the daemon's own event loop, so that a loop that is stuck answers no probe; a server in a thread would. These lines
do what is needed, for which a framework would be a dependency of more weight than the rest of this room.

Whoever connects is accepted at once, and the oldest connection makes room for it. So clients that are slow to ask or
to read, however many, keep no probe waiting, and never hold more descriptors than MOST_CONNECTIONS and one.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TypeAlias

log = logging.getLogger(__name__)

REQUEST_BYTES = 8192
DEADLINE_S = 5.0  # of a whole exchange
MOST_CONNECTIONS = 32
# A long answer goes out in pieces with pauses between, in which the loop does what is more urgent.
PIECE_BYTES = 64 * 1024
PAUSE_S = 0.005
LACK_S = 0.1  # between two tries to accept where that fails
END = b"\r\n\r\n"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


Page: TypeAlias = Callable[[], Awaitable[Answer]]
Pages: TypeAlias = Mapping[str, Page]


class PageServer:
    """Serves pages to whoever connects to its listeners; these share the bound on connections."""

    def __init__(self, pages: Pages, most: int = MOST_CONNECTIONS) -> None:
        self._pages, self._most = pages, most
        self._open: dict[asyncio.Task[None], None] = {}  # the oldest first

    async def serve(self, *listeners: socket.socket) -> None:
        """Serve until cancelled; then all connections are closed."""
        try:
            async with asyncio.TaskGroup() as accepting:
                for listener in listeners:
                    accepting.create_task(self._serve(listener))
        finally:
            still_open = list(self._open)
            for task in still_open:
                task.cancel()
            await asyncio.gather(*still_open, return_exceptions=True)

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                connection, _ = listener.accept()  # not the loop's, which loses one where it is cancelled meanwhile
            except BlockingIOError:
                await _readable(listener)
                continue
            except OSError as error:  # of the connection (accept(2)), or for want of descriptors
                log.debug("no connection accepted reason=%r", str(error))
                await self._close_oldest()
                await asyncio.sleep(LACK_S)
                continue
            connection.setblocking(False)
            task = loop.create_task(self._serve_one(connection))
            self._open[task] = None
            task.add_done_callback(partial(self._ended, connection))
            if len(self._open) > self._most:
                await self._close_oldest()
            await asyncio.sleep(0)  # an accept does not wait where somebody has connected: others have their turn

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled before it began never runs.
        connection.close()
        del self._open[task]

    async def _close_oldest(self) -> None:
        for oldest in self._open:
            oldest.cancel()
            await asyncio.wait((oldest,))
            return

    async def _serve_one(self, connection: socket.socket) -> None:
        """Answer one request, if it comes in time; whatever goes wrong with it is the caller's business alone."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                for part in await self._answer(await _request(connection)):
                    await _send(connection, part)
        except (OSError, TimeoutError) as error:
            log.debug("page not served reason=%r", str(error))

    async def _answer(self, request: bytes) -> tuple[bytes, ...]:
        """Return head and body, apart: a body is shared by all that ask for it."""
        method, target, version = (*request.partition(b"\r\n")[0].split(b" "), b"", b"", b"")[:3]
        if not version.startswith(b"HTTP/1."):
            return (_head(error_page(HTTPStatus.BAD_REQUEST)),)
        if method not in (b"GET", b"HEAD"):
            answer = error_page(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            answer = await self._page(target.partition(b"?")[0].decode("latin-1"))
        return (_head(answer),) if method == b"HEAD" else (_head(answer), answer.body)

    async def _page(self, path: str) -> Answer:
        page = self._pages.get(path)
        if page is None:
            return error_page(HTTPStatus.NOT_FOUND, f"there are {' '.join(self._pages)}")
        try:
            return await page()
        except Exception:  # a page that fails must not look as if the daemon did
            log.exception("page failed path=%s", path)
            return error_page(HTTPStatus.INTERNAL_SERVER_ERROR)


async def _readable(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    somebody = asyncio.Event()
    loop.add_reader(listener, somebody.set)
    try:
        await somebody.wait()
    finally:
        loop.remove_reader(listener)


async def _request(connection: socket.socket) -> bytes:
    """Return the head of a request; OSError where none comes that is short enough."""
    loop, received = asyncio.get_running_loop(), b""
    while END not in received:
        part = await loop.sock_recv(connection, REQUEST_BYTES)
        received += part
        if not part or len(received) > REQUEST_BYTES:
            raise OSError(f"no request in {len(received)} bytes")
    return received


async def _send(connection: socket.socket, part: bytes) -> None:
    loop, rest = asyncio.get_running_loop(), memoryview(part)
    while rest:
        await loop.sock_sendall(connection, rest[:PIECE_BYTES])
        if rest := rest[PIECE_BYTES:]:
            await asyncio.sleep(PAUSE_S)


def error_page(status: HTTPStatus, more: str = "") -> Answer:
    return Answer(f"{status.phrase}{': ' if more else ''}{more}\n".encode(), status)


def _head(answer: Answer) -> bytes:
    lines = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(["Allow: GET, HEAD"] if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else ()),
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1")
