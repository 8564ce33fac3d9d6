"""`qatdp run` as a process of its own: it serves, listens to signals, and ends as it says it does."""

import asyncio
import json
import os
import resource
import signal
import sysconfig
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import click
import pytest
from click.testing import Result

from qatdp.cli.run import ListenAddress, run
from qatdp.core.model.ranges import as_ranges
from qatdp.descriptors import LEAST
from qatdp.pages.client import ask
from qatdp.pages.pages import Address
from qatdp.simulator.host.node import FakeHost
from qatdp.simulator.kubelet import FakeKubelet, Pod

PROGRAM = Path(sysconfig.get_path("scripts")) / "qatdp"
CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
PF = "0000:6b:00.0"


def running(*words: object, **environment: object) -> AbstractAsyncContextManager[Process]:
    """Start the program; it is killed at the end if it still runs."""
    return started((PROGRAM, *words), environment)


def running_with(files: int, *words: object) -> AbstractAsyncContextManager[Process]:
    """Start the program, which may have so many files open."""
    return started(("sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", PROGRAM, *words), {})


@asynccontextmanager
async def started(command: Sequence[object], environment: Mapping[str, object]) -> AsyncIterator[Process]:
    env = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=DEVNULL, stderr=PIPE, env=env)
    try:
        async with asyncio.timeout(20):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> tuple[int | None, str]:
    """Return its status and what it said, once it has ended by itself."""
    async with asyncio.timeout(5):
        _, said = await process.communicate()
    return process.returncode, said.decode()


def on(host: FakeHost, kubelet: FakeKubelet) -> list[object]:
    return ["run", "--sysfs", host.sysfs, "--dev", host.dev, "--kubelet-dir", kubelet.folder]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_status_0_and_its_sockets_go(
    host: FakeHost, folder: Path, number: signal.Signals
) -> None:
    host.add_pf(PF, vfs=2)
    async with FakeKubelet(folder) as kubelet, running(*on(host, kubelet)) as process:
        await kubelet.offers(CY, map(str, host.vfs(PF)))
        assert (await kubelet.admit(Pod.of(cy=1))).admitted
        process.send_signal(number)
        status, said = await ended(process)
        assert status == 0, said
        assert "stopped" in said.splitlines()[-1]
        assert "Traceback" not in said
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert list(kubelet.plugins.glob("qatdp-*")) == []


async def test_it_ends_as_quickly_where_there_is_no_kubelet(host: FakeHost, folder: Path) -> None:
    async with running(*on(host, FakeKubelet(folder))) as process:
        assert process.stderr is not None
        assert b"qatdp version=" in await process.stderr.readline()
        while b"PodResources not available yet" not in (line := await process.stderr.readline()):
            assert line
        assert f"reason='{folder}/pod-resources/kubelet.sock is not there'".encode() in line
        process.terminate()
        status, said = await ended(process)
        assert status == 0, said


@pytest.mark.parametrize("length", [57, 82])  # of a snap's folder; of the longest that leaves any room
async def test_run_registers_a_long_name_in_a_long_folder(host: FakeHost, folder: Path, length: int) -> None:
    host.add_pf(PF, vfs=2)
    config, deep = folder / "config.yaml", folder / ("v" * (length - len(f"{folder}//device-plugins/")))
    config.write_text(f"version: 1\nresources: [{{name: {'a' * 63}}}]\n")
    async with FakeKubelet(deep) as kubelet, running(*on(host, kubelet), "--config", config):
        await kubelet.offers(f"qat.intel.com/{'a' * 63}", map(str, host.vfs(PF)))


async def test_it_may_open_as_many_files_as_it_is_allowed_to(host: FakeHost, folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        async with running(*on(host, FakeKubelet(folder))) as process:
            assert process.stderr is not None
            await process.stderr.readline()
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_run_serves_128_vfs_with_64_files_and_says_the_cost(host: FakeHost, folder: Path) -> None:
    pfs = [f"{number:04x}:6b:00.0" for number in range(8)]
    for pf in pfs:
        host.add_pf(pf, vfs=16)
    async with FakeKubelet(folder) as kubelet, running_with(LEAST, *on(host, kubelet)) as process:
        await kubelet.offers(CY, [str(vf) for pf in pfs for vf in host.vfs(pf)])
        await kubelet.restart(kill=True)
        await kubelet.offers(CY, [str(vf) for pf in pfs for vf in host.vfs(pf)])
        process.terminate()
        status, said = await ended(process)
        assert status == 0, said
        (line,) = [line for line in said.splitlines() if "few open files" in line]
        assert "limit=64 wanted=448" in line


async def test_run_refuses_a_limit_too_low_for_grpc(host: FakeHost, folder: Path) -> None:
    async with running_with(LEAST - 1, *on(host, FakeKubelet(folder))) as process:
        status, text = await ended(process)
        assert status == 1
        assert "may have 63 files open (RLIMIT_NOFILE), and needs 64 at least\nHint: " in text


async def test_one_that_was_killed_is_followed_by_another(host: FakeHost, folder: Path) -> None:
    host.add_pf(PF, vfs=2)
    async with FakeKubelet(folder) as kubelet:
        async with running(*on(host, kubelet)) as process:
            await kubelet.offers(CY, map(str, host.vfs(PF)))
            (dead,) = kubelet.streams(CY)
            process.kill()
            assert (await ended(process))[0] == -signal.SIGKILL
            await kubelet.offers(CY, ())
            assert (kubelet.plugins / dead).exists()
        async with running(*on(host, kubelet)):
            await kubelet.offers(CY, map(str, host.vfs(PF)))
            assert [path.name for path in kubelet.plugins.glob("qatdp-*")] == kubelet.streams(CY) != [dead]


async def test_sighup_makes_it_look_at_everything_anew(host: FakeHost, folder: Path) -> None:
    host.add_pf(PF, vfs=1)
    async with FakeKubelet(folder) as kubelet, running(*on(host, kubelet)) as process:
        await kubelet.offers(CY, map(str, host.vfs(PF)))
        host.add_pf("0000:70:00.0", services="dc", vfs=1)
        process.send_signal(signal.SIGHUP)
        await kubelet.offers(DC, map(str, host.vfs("0000:70:00.0")))


async def test_sighup_loads_the_configuration_anew_also_where_it_seems_the_same(host: FakeHost, folder: Path) -> None:
    host.add_pf(PF, vfs=1)
    config = folder / "config.yaml"
    config.write_text("version: 1\n")
    async with FakeKubelet(folder) as kubelet, running(*on(host, kubelet), "--config", config) as process:
        await kubelet.offers(CY, map(str, host.vfs(PF)))
        assert process.stderr is not None
        process.send_signal(signal.SIGHUP)
        while b"configuration loaded" not in await process.stderr.readline():
            pass


async def test_every_option_is_a_variable_as_well(host: FakeHost, folder: Path) -> None:
    host.add_pf(PF, vfs=1)
    config = folder / "config.yaml"
    config.write_text("version: 1\nresources: [{name: fast}]\n")
    environment = {
        "QATDP_SYSFS": host.sysfs,
        "QATDP_DEV": host.dev,
        "QATDP_KUBELET_DIR": folder,
        "QATDP_POD_RESOURCES": folder / "pod-resources",
        "QATDP_CONFIG": config,
        "QATDP_BIND": "never",
        "QATDP_LOG_LEVEL": "error",
        "QATDP_LOG_FORMAT": "json",
        "QATDP_LISTEN": "127.0.0.1:0",
        "QATDP_SOCKET": folder / "s",
    }
    async with FakeKubelet(folder) as kubelet, running("run", **environment) as process:
        await kubelet.offers("qat.intel.com/fast", map(str, host.vfs(PF)))
        assert (await asyncio.to_thread(ask, folder / "s"))["devices"][0]["resource"] == "qat.intel.com/fast"
        process.terminate()
        assert await ended(process) == (0, "")


async def test_the_log_can_be_json_a_line(host: FakeHost, folder: Path) -> None:
    host.add_pf(PF, vfs=2)
    async with FakeKubelet(folder) as kubelet, running(*on(host, kubelet), "--log-format=json") as process:
        await kubelet.offers(CY, map(str, host.vfs(PF)))
        process.terminate()
        lines = [json.loads(line) for line in (await ended(process))[1].splitlines()]
        (added,) = [line for line in lines if line["msg"] == "devices"]
        assert (added["resource"], added["is"], added["vfs"]) == (CY, "Added", as_ranges(host.vfs(PF)))


def test_help_says_what_bind_is_alone_and_that_the_default_is_never(qatdp: Callable[..., Result]) -> None:
    said = " ".join(qatdp("run", "--help").stdout.split())
    assert "--bind alone is --bind=free" in said
    assert "[default: never]" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nothing"], "No such option"),
        (["--bind=all"], "Invalid value for '--bind'"),
        (["--log-level", "loud"], "Invalid value for '--log-level'"),
        (["--listen", "9546"], "is not an address and port, such as :9546"),
        (["--listen", ":99999"], "is not an address and port, such as :9546"),
        (["--listen", "[::1"], "'[::1' is not an address and port"),
        (["--sysfs", "/etc/passwd"], "is a file"),
        (["--deadline", "nan"], "'nan' is not a number of seconds"),
        (["--kubelet-dir", "/" + "k" * 81], "takes 98 of the 107 bytes"),
        (["--socket", f"/run/{'s' * 103}"], "has 108 bytes, the path of a socket at most 107"),
        (["--listen-status"], "--listen-status needs --listen"),
    ],
)
async def test_what_is_wrong_from_the_start_is_status_2(folder: Path, words: list[str], said: str) -> None:
    async with running("run", "--kubelet-dir", folder, *words) as process:
        status, text = await ended(process)
        assert status == 2, text
        assert said in text
        assert "Traceback" not in text


@pytest.mark.parametrize("text", [None, "version: 9\n"])
async def test_run_waits_for_a_configuration_that_is_wrong(host: FakeHost, folder: Path, text: str | None) -> None:
    host.add_pf(PF, vfs=1)
    config = folder / "config.yaml"
    if text is not None:
        config.write_text(text)
    async with FakeKubelet(folder) as kubelet, running(*on(host, kubelet), "--config", config) as process:
        assert process.stderr is not None
        while b"invalid configuration" not in (line := await process.stderr.readline()):
            assert line
        assert (b"expected 1, got 9" if text else b"No such file or directory") in line
        config.write_text("version: 1\n")
        await kubelet.offers(CY, map(str, host.vfs(PF)))


ADDRESSES = {
    ":9546": Address(None, 9546),
    "127.0.0.1:0": Address("127.0.0.1", 0),
    "[::1]:80": Address("::1", 80),
    "[fe80::1%eth0]:80": Address("fe80::1%eth0", 80),
    "localhost:9546": Address("localhost", 9546),
    "node-1.example.com:9546": Address("node-1.example.com", 9546),
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items())
def test_listen_takes_addresses_and_names(text: str, address: Address) -> None:
    assert ListenAddress().convert(text, None, None) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "9546", ":99999", ":-1", ":+1", ":٣", ":1_0", ": 80", ":8 0", "x" * 200),
        *("[::1", "[::1:80", "::1]:80", "::1:80", "[]:80", "[127.0.0.1]:80", "[localhost]:80", "[[::1]]:80"),
        *("tcp://10.0.0.1:80", "10.0.0.1/24:80", "1.2.3.4.5:80", "1.2.3:80", "1.2.3.256:80", "127:80"),
        *("-a:80", "a-:80", "a..b:80", ".:80", "a b:80", "a\n:80", "é:80"),
    ],
)
def test_listen_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not an address and port"):
        ListenAddress().convert(text, None, None)


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-1", "0", "3601", "x"])
@pytest.mark.parametrize("command", ["run", "provision"])
def test_deadline_refuses_what_is_no_time(qatdp: Callable[..., Result], command: str, text: str) -> None:
    for words, environment in (([f"--deadline={text}"], {}), ([], {"QATDP_DEADLINE": text})):
        result = qatdp(command, "--sysfs=/nowhere", *words, **environment)
        assert result.exit_code == 2
        assert "Invalid value for '--deadline'" in result.stderr


def lists_allowed(*words: str) -> bool:
    return bool(run.make_context("run", list(words)).params["lists"])


def test_run_may_call_list_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lists_allowed()
    assert not lists_allowed("--no-pod-resources-list")
    monkeypatch.setenv("QATDP_POD_RESOURCES_LIST", "false")
    assert not lists_allowed()
    assert lists_allowed("--pod-resources-list")
