"""A folder with a package `qatdp` of somebody else's, in which root runs `qatdp provision`."""

import asyncio
import tempfile
from pathlib import Path

from churn.site import FIRST_PF, QATDP

from attacks.finding import Finding, tell
from qatdp.simulator.host.node import FakeHost

CONFIG = "version: 1\nprovision:\n  - split:\n      - services: [sym, asym]\n"
MODULES = ("__init__.py", "host/__init__.py", "host/pf/worker.py")
DEADLINE_S = 3.0


async def attack() -> Finding:
    with tempfile.TemporaryDirectory(prefix="attack-", dir="/dev/shm") as name:
        folder, marker = Path(name), Path(name, "ran")
        host = FakeHost(folder / "host")
        host.add_pf(FIRST_PF, services="dc", vfs=0)
        (folder / "config.yaml").write_text(CONFIG)
        put_false_package(folder / "cwd", marker)
        said = await provision(folder, host)
        ran = await asyncio.to_thread(marker.exists)
    return Finding(
        "a false package `qatdp` in the working directory of `qatdp provision`",
        "once",
        not ran and FIRST_PF in said,
        "its code was run" if ran else "none of its code was run",
    )


def put_false_package(folder: Path, marker: Path) -> None:
    for name in MODULES:
        path = folder / "qatdp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(marker)!r}, 'a').close()\n")


async def provision(folder: Path, host: FakeHost) -> str:
    """Have a PF configured, for which a process is started; the simulated node takes no notice."""
    words: tuple[str | Path, ...] = (
        *("--sysfs", host.sysfs, "--dev", host.dev, "--config", folder / "config.yaml"),
        *("--kubelet-dir", folder / "kubelet", "--lock-dir", folder / "locks", "--deadline", str(DEADLINE_S)),
    )
    command = await asyncio.create_subprocess_exec(
        QATDP, "provision", *words, cwd=folder / "cwd", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await command.communicate()
    return said.decode()


if __name__ == "__main__":
    tell(attack)
