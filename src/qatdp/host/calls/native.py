"""HostCalls in C (csrc/), which holds no lock of the interpreter's meanwhile. The only module that knows cffi.

Importing it raises ImportError where nothing was compiled. What it returns is what portable.py returns.
"""

import errno
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from qatdp.core.model.qat import FAMILIES, VENDOR, Family
from qatdp.descriptors import keep_below
from qatdp.host.calls._native import ffi, lib
from qatdp.host.calls.abc import BusDump, GroupStatus, Watch
from qatdp.host.calls.portable import PortableCalls

ANSWER = struct.Struct("@IiIII")  # struct qatdp_answer
WATCHED = struct.Struct("@IIiIIiIQQ")  # struct qatdp_watched
assert ANSWER.size == ffi.sizeof("struct qatdp_answer")
assert WATCHED.size == ffi.sizeof("struct qatdp_watched")

FIRST_BYTES, MOST_BYTES = 1 << 22, 1 << 28  # of a scan's answers: those of a thousand VFs take a megabyte
BYTES_OF_AN_ANSWER = 64  # as these were; where they are shorter, there is room for fewer than the bytes would hold

ENCODING, ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
raw = ffi.new_allocator(should_clear_after_alloc=False)  # memory that nobody wipes: most of it is never used


class NativeCalls(PortableCalls):
    """What is asked in bulk, of VFIO or of inotify is in C; calls about one path are cold, and are Python's.

    Stateless; every descriptor but a watch's is closed before a call returns.
    """

    name = "c"

    def notify(self, folders: Sequence[Path]) -> int:
        descriptor = _checked(Path("inotify"), lib.qatdp_notify())
        try:
            for folder in folders:
                _checked(folder, lib.qatdp_notify_of(descriptor, _encoded(folder)))
        except OSError:
            os.close(descriptor)
            raise
        return int(descriptor)

    def vfio_version(self, container: Path) -> int:
        return _checked(container, lib.qatdp_vfio_version(_encoded(container)))

    def vfio_extension(self, container: Path, extension: int) -> bool:
        return _checked(container, lib.qatdp_vfio_extension(_encoded(container), extension)) > 0

    def vfio_group(self, group: Path) -> GroupStatus:
        flags = _checked(group, lib.qatdp_vfio_group(_encoded(group)))
        return GroupStatus(bool(flags & lib.QATDP_VFIO_VIABLE), bool(flags & lib.QATDP_VFIO_IN_USE))

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        for size in _sizes(FIRST_BYTES):
            room, memory = _room(size)
            status = lib.qatdp_bus(room, _encoded(sysfs) + b"/", _encoded(dev) + b"/", VENDOR, MODELS, len(MODELS))
            if status != -errno.ENOBUFS:
                break
        _checked(sysfs, status)
        answers = ffi.buffer(memory[0], room.count * ANSWER.size)
        return _answers(ANSWER.iter_unpack(answers), bytes(ffi.buffer(memory[1], room.used)))

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        return NativeWatch(contents, present)


class NativeWatch:
    """Keeps the files open whose contents it looks at, until it is closed, as far as there are descriptors to spare."""

    def __init__(self, contents: Sequence[Path], present: Sequence[Path]) -> None:
        kinds = [lib.QATDP_READ] * len(contents) + [lib.QATDP_EXISTS] * len(present)
        paths = [_encoded(path) + b"\0" for path in (*contents, *present)]
        *starts, _ = accumulate(map(len, paths), initial=0)
        asked = [{"kind": kind, "path": start} for kind, start in zip(kinds, starts, strict=True)]
        self._paths = ffi.new("char[]", b"".join(paths))
        self._watched = ffi.new("struct qatdp_watched[]", asked)
        self._size = lib.QATDP_ATTRIBUTE_BYTES * len(contents) + lib.QATDP_READ_BYTES
        self._text = raw("char[]", self._size)

    def read(self) -> Sequence[bytes | int | bool]:
        used = lib.qatdp_watch(self._watched, len(self._watched), self._paths, keep_below(), self._text, self._size)
        text = bytes(ffi.buffer(self._text, used))
        return tuple(
            status == 0 if kind == lib.QATDP_EXISTS else -status or text[data : data + length]
            for kind, _, status, data, length, *_ in WATCHED.iter_unpack(ffi.buffer(self._watched))
        )

    def close(self) -> None:
        lib.qatdp_unwatch(self._watched, len(self._watched))


def _model(family: Family, *, is_pf: bool) -> Mapping[str, Any]:
    device = family.pf_device if is_pf else family.vf_device
    driver = family.pf_driver if is_pf and family.selectable else ""
    return {"device": device, "is_pf": is_pf, "driver": driver.encode()}


MODELS = ffi.new(
    "struct qatdp_model[]", [_model(family, is_pf=is_pf) for family in FAMILIES for is_pf in (True, False)]
)


def _room(size: int) -> tuple[Any, tuple[Any, ...]]:
    """Return room for answers and what it is made of, which must be kept as long as the room is used."""
    most = size // BYTES_OF_AN_ANSWER
    memory = raw("struct qatdp_answer[]", most), raw("char[]", size), raw("uint32_t[]", 2 * most)
    answer, text, slot = memory
    room = {"answer": answer, "most": most, "text": text, "size": size, "slot": slot, "slots": 2 * most}
    return ffi.new("struct qatdp_answers *", room), memory


def _answers(records: Iterator[tuple[int, ...]], text: bytes) -> BusDump:
    contents: dict[str, bytes | int] = {}
    links: dict[str, str | int] = {}
    names: dict[str, Sequence[str] | int] = {}
    present: dict[str, bool] = {}
    for kind, status, at, data, length in records:
        path, back = text[at : data - 1].decode(ENCODING, ERRORS), text[data : data + length]
        if kind == lib.QATDP_READ:
            contents[path] = -status or back
        elif kind == lib.QATDP_LINK:
            links[path] = -status or back.decode(ENCODING, ERRORS)
        elif kind == lib.QATDP_LIST:
            names[path] = -status or _names(back)
        else:
            present[path] = not status
    return BusDump(contents, links, names, present)


def _names(text: bytes) -> Sequence[str]:
    return sorted(text.decode(ENCODING, ERRORS).split("\0")[:-1])


def _sizes(first: int) -> Iterator[int]:
    """Yield sizes to try, one after the other."""
    while first <= MOST_BYTES:
        yield first
        first *= 4


def _encoded(path: Path) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _checked(path: Path, outcome: int) -> int:
    if outcome < 0:
        raise OSError(-outcome, os.strerror(-outcome), str(path))
    return outcome
