"""What an installation consists of: with a C compiler the helper in C, for any Python; without one all but that."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from qatdp.testing.host import FakeHost

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent  # ninja, and no compiler
NATIVE = "qatdp/host/_native.abi3.so"
SCAN = (
    "import sys; from qatdp.cli import main; from qatdp.host.choose import host_calls; print(host_calls().name);"
    "main(['devices', '--sysfs', f'{sys.argv[1]}/sys', '--dev', f'{sys.argv[1]}/dev'])"
)


def wheel(folder: Path, path: str) -> Path:
    """Build a wheel with the programs that are on a path."""
    command = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "-w", folder, ROOT)
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


def test_with_a_compiler_it_has_the_c_helper_for_later_pythons_too_and_works(tmp_path: Path, host: FakeHost) -> None:
    if not shutil.which("cc") or not Path(sysconfig.get_path("platinclude"), "Python.h").exists():
        pytest.skip("no C compiler here, or no Python.h")
    made = wheel(tmp_path / "wheel", os.pathsep.join((str(TOOLS), os.environ["PATH"])))
    assert f"-cp{sys.version_info.major}{sys.version_info.minor}-abi3-linux_" in made.name
    assert NATIVE in zipfile.ZipFile(made).namelist()
    name, *rows = scan(made, tmp_path / "installed", host)
    assert (name, len(rows)) == ("c", 3)
