"""What simulated trees are built of: files, relative links and folders, made with the folders they are in."""

import os
import shutil
from pathlib import Path


def put(path: Path, content: str | bytes = b"") -> None:
    """Write a file: a line of text, or just these bytes."""
    _make_parent(path)
    path.write_bytes(f"{content}\n".encode() if isinstance(content, str) else content)


def replace(path: Path, content: str | bytes) -> None:
    """Write a file in place of whatever is there; who reads it meanwhile finds the old content or the new."""
    if path.is_dir() and not path.is_symlink():
        remove(path)
    new = path.with_name(f".{path.name}")
    put(new, content)
    new.replace(path)


def link(path: Path, target: Path) -> None:
    """Make a link as sysfs has them: relative to the folder that it is in."""
    _make_parent(path)
    path.symlink_to(os.path.relpath(target, path.parent))


def link_name(path: Path) -> str | None:
    """Return the last component of what a link points to; None where there is no link."""
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else None


def names(folder: Path) -> list[str]:
    """Return the names in a folder, none where there is no folder."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def remove(path: Path) -> None:
    """Remove whatever is there, if anything is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_parent(path: Path) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
