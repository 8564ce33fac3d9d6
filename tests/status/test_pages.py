"""The pages, over real sockets: what they answer, and that who asks badly harms nobody."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from qatdp.core.report import EndpointReport, Report
from qatdp.status import client, http
from qatdp.status.metrics import Metrics
from qatdp.status.pages import Address, StatusServer, pages


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(report: Report, path: Path) -> AsyncIterator[StatusServer]:
    """Serve until the context is left, on a free port and on a socket."""
    server = StatusServer(pages(lambda: report, Metrics()), Address("127.0.0.1", 0), path)
    tasks = [asyncio.create_task(server.on_address()), asyncio.create_task(server.on_socket())]
    await until(lambda: server.port is not None and path.exists())
    yield server
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def said(server: StatusServer, request: bytes) -> tuple[int, str, bytes]:
    """Return status, head and body of the answer to a request."""
    assert server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]) if head else 0, head.decode(), body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def test_healthz_is_well_whatever_the_devices_are(report: Report, folder: Path) -> None:
    assert not report.pfs[0].healthy
    async with serving(report, folder / "s") as server:
        assert await said(server, get("/healthz")) == (200, (await said(server, get("/healthz")))[1], b"ok\n")


async def test_readyz_names_what_is_missing(report: Report, folder: Path) -> None:
    async with serving(report, folder / "s") as server:
        assert (await said(server, get("/readyz")))[0] == 200
    unready = replace(
        report, endpoints=(*report.endpoints, EndpointReport("qat.intel.com/dc", "waiting", registered=False))
    )
    async with serving(unready, folder / "s") as server:
        status, _, body = await said(server, get("/readyz"))
        assert (status, body) == (503, b"qat.intel.com/dc is waiting\n")
    async with serving(replace(report, scanned_s=None), folder / "s") as server:
        assert (await said(server, get("/readyz")))[0] == 503


async def test_status_is_the_report_as_json_on_both(report: Report, folder: Path) -> None:
    async with serving(report, folder / "s") as server:
        status, head, body = await said(server, get("/status?pretty"))
        assert status == 200 and "application/json" in head
        assert json.loads(body)["devices"][0]["holders"][0]["namespace"] == "default"
        assert await asyncio.to_thread(client.ask, folder / "s") == json.loads(body)


async def test_metrics_have_their_content_type_and_length(report: Report, folder: Path) -> None:
    async with serving(report, folder / "s") as server:
        status, head, body = await said(server, get("/metrics"))
        assert status == 200 and "text/plain; version=0.0.4" in head
        assert f"Content-Length: {len(body)}" in head


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/nowhere"), 404),
        (get("/../etc/passwd"), 404),
        (b"POST /status HTTP/1.1\r\n\r\n", 405),
        (b"GET /status\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01 TLS \xff HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 404),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 0),  # no answer, the connection is ended
    ],
)
async def test_bad_requests_are_refused_and_the_next_is_served(
    report: Report, folder: Path, request_: bytes, status: int
) -> None:
    async with serving(report, folder / "s") as server:
        with suppress(ConnectionError):
            assert (await said(server, request_))[0] == status
        assert (await said(server, get("/healthz")))[0] == 200


async def test_head_has_no_body(report: Report, folder: Path) -> None:
    async with serving(report, folder / "s") as server:
        status, head, body = await said(server, b"HEAD /healthz HTTP/1.1\r\n\r\n")
        assert (status, body) == (200, b"") and "Content-Length: 3" in head


async def test_who_asks_nothing_keeps_nobody_from_being_served(report: Report, folder: Path) -> None:
    async with serving(report, folder / "s") as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(http.MOST_CONNECTIONS - 1)]
        assert (await said(server, get("/healthz")))[0] == 200
        for _, writer in idle:
            writer.close()


async def test_a_page_that_fails_is_an_error_and_no_more(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Report:
        raise ValueError("broken")

    server = http.PageServer(pages(fails, Metrics()))
    async with await asyncio.start_unix_server(server.serve_one, folder / "s"):
        with pytest.raises(OSError, match="no answer that could be understood"):
            await asyncio.to_thread(client.ask, folder / "s")
    assert "broken" in caplog.text


async def test_the_socket_is_roots_alone_and_goes_with_the_daemon(report: Report, folder: Path) -> None:
    path = folder / "run/s"
    async with serving(report, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        client.ask(path)


async def test_a_newer_daemon_has_the_socket_and_keeps_it(report: Report, folder: Path) -> None:
    path = folder / "s"
    newer = replace(report, version="2")
    async with serving(report, path):
        old = path.stat().st_ino
        server = StatusServer(pages(lambda: newer, Metrics()), None, path)
        task = asyncio.create_task(server.on_socket())
        await until(lambda: path.stat().st_ino != old)
        assert (await asyncio.to_thread(client.ask, path))["version"] == "2"
    assert (await asyncio.to_thread(client.ask, path))["version"] == "2"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_a_killed_daemon_left_is_replaced(report: Report, folder: Path) -> None:
    path = folder / "s"
    path.write_text("")
    server = StatusServer(pages(lambda: report, Metrics()), None, path)
    task = asyncio.create_task(server.on_socket())
    await until(path.is_socket)
    assert (await asyncio.to_thread(client.ask, path))["version"] == "1.2.3"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_an_answer_that_is_no_daemons_is_an_error(folder: Path) -> None:
    server = http.PageServer({"/status": lambda: http.Answer(b"[]")})
    async with await asyncio.start_unix_server(server.serve_one, folder / "s"):
        with pytest.raises(OSError, match="understood"):
            await asyncio.to_thread(client.ask, folder / "s")
