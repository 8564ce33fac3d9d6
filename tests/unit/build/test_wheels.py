"""What an installation consists of: with a C compiler the helper in C, for any Python; without one all but that."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from qatdp.simulator.host.node import FakeHost

ROOT = Path(__file__).parents[3]
TOOLS = Path(sys.executable).parent  # ninja, and no compiler
NATIVE = "qatdp/host/calls/_native.abi3.so"
SCAN = (
    "import sys; from qatdp.cli import main; from qatdp.host.calls.choose import host_calls; print(host_calls().name);"
    "main(['devices', '--sysfs', f'{sys.argv[1]}/sys', '--dev', f'{sys.argv[1]}/dev'])"
)


def wheel(folder: Path, path: str) -> Path:
    """Build a wheel with the programs that are on a path."""
    command = (
        sys.executable,
        "-I",
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        folder,
        ROOT,
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS", "LDFLAGS")}
    subprocess.run(command, check=True, env=environment | {"PATH": path})
    (made,) = folder.glob("*.whl")
    return made


def scan(wheel: Path, folder: Path, host: FakeHost) -> list[str]:
    """Return what `devices` of a wheel prints, after the name of the implementation."""
    zipfile.ZipFile(wheel).extractall(folder)
    environment = {name: value for name, value in os.environ.items() if name != "QATDP_IMPL"}
    command = (sys.executable, "-P", "-c", SCAN, str(host.sysfs.parent))
    ended = subprocess.run(
        command, env=environment | {"PYTHONPATH": str(folder)}, check=True, capture_output=True, text=True
    )
    return ended.stdout.splitlines()


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    host = FakeHost(tmp_path / "host")
    host.fill(pfs=1, vfs=2)
    return host


def test_without_a_compiler_it_is_python_alone_and_works(tmp_path: Path, host: FakeHost) -> None:
    if shutil.which("cc", path=str(TOOLS)):
        pytest.skip(f"a compiler is in {TOOLS}")
    made = wheel(tmp_path / "wheel", str(TOOLS))
    assert made.name.endswith("-py3-none-any.whl")
    name, *rows = scan(made, tmp_path / "installed", host)
    assert (name, len(rows)) == ("python", 3)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel with the C helper."""
    if not shutil.which("cc") or not Path(sysconfig.get_path("platinclude"), "Python.h").exists():
        pytest.skip("no C compiler here, or no Python.h")
    return wheel(tmp_path_factory.mktemp("wheel"), os.pathsep.join((str(TOOLS), os.environ["PATH"])))


def test_with_a_compiler_it_has_the_c_helper_for_later_pythons_too_and_works(
    compiled: Path, tmp_path: Path, host: FakeHost
) -> None:
    assert f"-cp{sys.version_info.major}{sys.version_info.minor}-abi3-linux_" in compiled.name
    assert NATIVE in zipfile.ZipFile(compiled).namelist()
    name, *rows = scan(compiled, tmp_path / "installed", host)
    assert (name, len(rows)) == ("c", 3)


@pytest.fixture
def elf(compiled: Path, tmp_path: Path) -> str:
    """Return what readelf prints about the C helper. It is part of binutils, as most compilers' linker is."""
    if not shutil.which("readelf"):
        pytest.skip("no readelf here (binutils): nobody looked how the C helper was linked")
    library = zipfile.ZipFile(compiled).extract(NATIVE, tmp_path)
    command = ("readelf", "--wide", "--program-headers", "--dynamic", "--dyn-syms", library)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_helper_has_no_table_that_is_written_after_its_start(elf: str) -> None:
    assert re.search(r"^\s+GNU_RELRO\s", elf, re.M)
    assert re.search(r"\((FLAGS|FLAGS_1)\).*\b(BIND_NOW|NOW)\b", elf)


def test_helper_checks_its_stack_and_its_buffers(elf: str) -> None:
    imported = set(re.findall(r"\bUND (\w+)", elf))
    assert "__stack_chk_fail" in imported
    # Used where the compiler sees a buffer's size, but not that it suffices. musl, for one, has no such checks.
    if os.confstr("CS_GNU_LIBC_VERSION"):
        assert {name for name in imported if name.endswith("_chk")} - {"__stack_chk_fail"}


def test_helper_has_no_stack_that_can_be_run(elf: str) -> None:
    (flags,) = re.findall(r"^\s+GNU_STACK\s.*\s([RWE ]{3})\s+0x\w+$", elf, re.M)
    assert flags.strip() == "RW"
