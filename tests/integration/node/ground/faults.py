"""What can be made to go wrong with a PF: the driver double's own folder in debugfs (guest/driver)."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOUBLE = Path("/sys/kernel/debug/qat_double")


def fault(pf: str, name: str, value: str) -> None:
    (DOUBLE / pf / name).write_text(value)


def reset(pf: str) -> subprocess.Popen[bytes]:
    """Reset a PF as old kernels do, which take all its VFs away and make them again; it waits for whoever has one."""
    return subprocess.Popen(["sh", "-c", f"echo 1 >{DOUBLE / pf / 'reset'}"])


@contextmanager
def faults(*of: tuple[str, str]) -> Iterator[None]:
    """Let PFs and faults by name be free again at the end. A read that blocks keeps the daemon from ending."""
    try:
        yield
    finally:
        for pf, name in of:
            fault(pf, name, "N")
