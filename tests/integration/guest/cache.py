"""The cache: what the test grounds fetch and build, kept outside the clone so that a fresh clone need not do it again.

It lies in $QATDP_LAB, else in qatdp-lab below the user's cache folder, and may be removed at any time. An entry's name
holds a key of everything it was made from, so an entry is never changed: other sources make another entry.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def root() -> Path:
    """Return the cache's folder, created if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("QATDP_LAB") or Path(base, "qatdp-lab")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(*parts: str | Path) -> str:
    """Return twelve hex digits that change when a text, or the content of a file, among the parts does."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        digest.update(b"%d:" % len(content) + content)
    return digest.hexdigest()[:12]


def entry(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder of that name; where it is missing, let fill() fill a temporary one and rename it into place.

    An entry is whole or absent: a killed build leaves only a temporary folder, which the next build of it removes.
    """
    final = root() / name
    with open(root() / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            for leftover in root().glob(f".{name}.making-*"):
                shutil.rmtree(leftover)
            temporary = Path(tempfile.mkdtemp(prefix=f".{name}.making-", dir=root()))
            fill(temporary)
            temporary.rename(final)
    return final
