"""The pages, over real sockets: what they answer, and that who asks badly harms nobody."""

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.report import Fixed, a_report

from qatdp.core.status.report import EndpointReport, ProblemReport, Report
from qatdp.pages import client, http
from qatdp.pages.metrics import Metrics
from qatdp.pages.pages import Address, StatusServer, pages


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def serving(report: Report, path: Path, *, status_on_address: bool = True) -> AsyncIterator[StatusServer]:
    """Serve until the context is left, on a free port and on a socket."""
    address = Address("127.0.0.1", 0)
    server = StatusServer(pages(Fixed(report), Metrics()), address, path, status_on_address=status_on_address)
    async with running(server.on_address(), server.on_socket()):
        await until(lambda: server.port is not None and path.exists())
        yield server


async def said(server: StatusServer, request: bytes, path: Path | None = None) -> tuple[int, str, bytes]:
    """Return status, head and body of the answer to a request, on the address or on a socket."""
    if path:
        reader, writer = await asyncio.open_unix_connection(path)
    else:
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
    async with serving(replace(report, obstacle="the look hangs"), folder / "s") as server:
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


def sockets() -> int:
    """Count this process's descriptors of sockets."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


@asynccontextmanager
async def slow_clients(server: StatusServer, path: Path, count: int, request: bytes = b"") -> AsyncIterator[None]:
    """Connect so often to both, send something, and read nothing of what comes."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            for family, at in ((socket.AF_INET, ("127.0.0.1", server.port)), (socket.AF_UNIX, str(path))):
                slow = stack.enter_context(socket.socket(family))
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                slow.setblocking(False)
                await asyncio.get_running_loop().sock_connect(slow, at)
                with suppress(ConnectionError):
                    await asyncio.get_running_loop().sock_sendall(slow, request)
        yield


@pytest.mark.parametrize("request_", [b"", b"GET /healthz", get("/status")], ids=["silent", "half", "reads-nothing"])
async def test_slow_clients_keep_no_probe_waiting(report: Report, folder: Path, request_: bytes) -> None:
    long = replace(report, problems=(ProblemReport("/sys", "x" * 1_000_000),))
    path = folder / "s"
    before = sockets()
    async with serving(long, path) as server, slow_clients(server, path, 200, request_):
        for _ in range(5):
            assert (await said(server, get("/healthz")))[0] == 200
            assert (await said(server, get("/readyz")))[0] == 200
            assert (await said(server, get("/healthz"), path))[0] == 200
        ours = sockets() - before - 400 - 2  # the clients', and the listeners
        assert ours <= 2 * (http.MOST_CONNECTIONS + 1)


async def test_who_has_waited_longest_makes_room(report: Report, folder: Path) -> None:
    async with serving(report, folder / "s") as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(http.MOST_CONNECTIONS)]
        assert (await said(server, get("/healthz")))[0] == 200
        (first, _), *others = idle
        assert await first.read() == b""
        for reader, writer in others:
            writer.write(get("/healthz"))
            assert (await reader.read()).endswith(b"ok\n")
        for _, writer in idle:
            writer.close()


async def test_the_address_takes_no_connection_from_the_socket(report: Report, folder: Path) -> None:
    path = folder / "s"
    async with serving(report, path) as server:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /heal")
        for _ in range(2 * http.MOST_CONNECTIONS):
            assert (await said(server, get("/healthz")))[0] == 200
        writer.write(b"thz HTTP/1.1\r\n\r\n")
        assert (await reader.read()).endswith(b"ok\n")
        writer.close()


async def test_status_names_pods_and_is_on_the_socket_alone(report: Report, folder: Path) -> None:
    path = folder / "s"
    async with serving(report, path, status_on_address=False) as server:
        status, _, body = await said(server, get("/status"))
        assert status == 403 and b"--listen-status" in body and b"default" not in body
        assert (await said(server, get("/status"), path))[0] == 200
        assert (await said(server, get("/metrics")))[0] == 200


async def test_a_page_that_fails_is_an_error_and_no_more(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Fixed):
        def freeze(self) -> Callable[[], Report]:
            raise ValueError("broken")

    server = StatusServer(pages(Fails(a_report()), Metrics()), None, folder / "s")
    async with running(server.on_socket()):
        await until((folder / "s").exists)
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
        server = StatusServer(pages(Fixed(newer), Metrics()), None, path)
        task = asyncio.create_task(server.on_socket())
        await until(lambda: path.stat().st_ino != old)
        assert (await asyncio.to_thread(client.ask, path))["version"] == "2"
    assert (await asyncio.to_thread(client.ask, path))["version"] == "2"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def a_server(version: str, path: Path) -> StatusServer:
    return StatusServer(pages(Fixed(replace(a_report(), version=version)), Metrics()), None, path, look_s=0.001)


async def answers(path: Path) -> str | None:
    with suppress(OSError):
        return str((await asyncio.to_thread(client.ask, path))["version"])
    return None


async def comes_from(version: str, path: Path) -> None:
    async with asyncio.timeout(10):
        while await answers(path) != version:  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.001)


async def test_the_socket_comes_back_when_a_newer_daemon_has_ended(folder: Path) -> None:
    path = folder / "s"
    async with running(a_server("1", path).on_socket()):
        await comes_from("1", path)
        async with running(a_server("2", path).on_socket()):
            await comes_from("2", path)
        await comes_from("1", path)


async def test_the_socket_comes_back_when_a_newer_daemon_was_killed(folder: Path) -> None:
    path = folder / "s"
    async with running(a_server("1", path).on_socket()):
        await comes_from("1", path)
        with socket.socket(socket.AF_UNIX) as killed:  # nothing takes its file away
            killed.bind(str(folder / "new"))
            (folder / "new").rename(path)
        await comes_from("1", path)
        path.unlink()
        await comes_from("1", path)


async def test_a_socket_has_the_longest_path_there_is_and_no_longer(folder: Path) -> None:
    deep = folder / ("d" * (107 - len(str(folder)) - 3))
    longest = deep / "s"  # shorter than the name that it has while it is made
    assert len(str(longest)) == 107
    async with running(a_server("1", longest).on_socket()):
        await comes_from("1", longest)
    with pytest.raises(OSError, match=r"108 bytes.*at most 107"):
        await a_server("1", deep / "st").on_socket()


async def test_what_a_killed_daemon_left_is_replaced(folder: Path) -> None:
    path = folder / "s"
    path.write_text("")
    async with running(a_server("1.2.3", path).on_socket()):
        await until(path.is_socket)
        assert (await asyncio.to_thread(client.ask, path))["version"] == "1.2.3"


async def test_an_answer_that_is_no_daemons_is_an_error(folder: Path) -> None:
    async def status() -> http.Answer:
        return http.Answer(b"[]")

    async with running(StatusServer({"/status": status}, None, folder / "s").on_socket()):
        await until((folder / "s").exists)
        with pytest.raises(OSError, match="understood"):
            await asyncio.to_thread(client.ask, folder / "s")
