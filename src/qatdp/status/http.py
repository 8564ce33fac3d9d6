"""A server for a few small pages: HTTP/1.1, GET and HEAD, one request a connection.

On the daemon's own event loop, so that a loop that is stuck answers no probe; a server in a thread would. These lines
do what is needed, for which a framework would be a dependency of more weight than the rest of this room.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

log = logging.getLogger(__name__)

REQUEST_BYTES = 8192
DEADLINE_S = 5.0  # of a whole exchange: who is slow to ask or to read holds nothing for longer
MOST_CONNECTIONS = 32
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


Pages: TypeAlias = Mapping[str, Callable[[], Answer]]


class PageServer:
    """Hand `serve_one` to asyncio.start_server or start_unix_server, with `limit` REQUEST_BYTES."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._open = 0

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, if it comes in time; whatever goes wrong with it is the caller's business alone."""
        self._open += 1
        try:
            async with asyncio.timeout(DEADLINE_S if self._open <= MOST_CONNECTIONS else 0):
                writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("page not served reason=%r", str(error))
        finally:
            self._open -= 1
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                writer.transport.abort()

    def _answer(self, request: bytes) -> bytes:
        method, target, version = (*request.partition(b"\r\n")[0].split(b" "), b"", b"", b"")[:3]
        if not version.startswith(b"HTTP/1."):
            return _head(_error(HTTPStatus.BAD_REQUEST))
        if method not in (b"GET", b"HEAD"):
            answer = _error(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            answer = self._page(target.partition(b"?")[0].decode("latin-1"))
        return _head(answer) + (answer.body if method != b"HEAD" else b"")

    def _page(self, path: str) -> Answer:
        page = self._pages.get(path)
        if page is None:
            return _error(HTTPStatus.NOT_FOUND, f"there are {' '.join(self._pages)}")
        try:
            return page()
        except Exception:  # a page that fails must not look as if the daemon did
            log.exception("page failed path=%s", path)
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR)


def _error(status: HTTPStatus, more: str = "") -> Answer:
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
