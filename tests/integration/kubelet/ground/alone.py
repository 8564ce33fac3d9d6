"""A mount namespace with an empty /var/lib/kubelet, and the device manager that runs in it.

For programs that start what needs both. Nothing but the standard library is imported: whichever Python there is can say
what is missing.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

FOLDER = "/var/lib/kubelet"

CANNOT = 77  # what a tier ends with where it cannot run

NAMESPACE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")
MOUNT = f'mount -t tmpfs tmpfs {FOLDER}; exec "$@"'

BUILD = Path(__file__).resolve().parents[1] / "build"


def in_namespace(command: Sequence[str | Path]) -> list[str | Path]:
    """Return the command that runs this one in such a namespace."""
    return [*NAMESPACE, MOUNT, "sh", *command]


def why_not() -> str | None:
    """Return why it cannot be had here; None where it can."""
    if os.geteuid():
        return "it needs root, for a mount namespace"
    if not shutil.which("unshare"):
        return "it needs unshare (Debian's package util-linux)"
    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    tried = subprocess.run(in_namespace(["true"]), check=False, stderr=subprocess.PIPE, text=True)
    return f"no mount namespace: {tried.stderr.strip()}" if tried.returncode else None


def build(version: str) -> tuple[int, str]:
    """Return the exit status and the program, which is built without taking time from what runs."""
    command = ("nice", BUILD, "devicemanager", "--version", version)
    built = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    return built.returncode, built.stdout.strip().rpartition("\n")[2]
