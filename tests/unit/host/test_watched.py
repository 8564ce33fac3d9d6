"""Watches: the same contents over and over, whatever became of the files meanwhile."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qatdp.descriptors import RESERVED
from qatdp.host.calls.abc import HostCalls, Watch

STATES = (b"up\n", b"down\n")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "state", tmp_path / "cfg_services")
    for path in paths:
        path.write_bytes(b"up\n")
    return paths


@pytest.fixture
def watch(calls: HostCalls, files: tuple[Path, Path]) -> Iterator[Watch]:
    """A watch of two contents and of whether the first of them is there."""
    watch = calls.watch(files, files[:1])
    watch.read()
    yield watch
    watch.close()


@pytest.fixture
def low_limit() -> Iterator[Callable[[int], None]]:
    """Set the soft limit of open files until the end of the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one of the folder itself
            continue
    return found


def test_of_nothing(calls: HostCalls) -> None:
    assert calls.watch((), ()).read() == ()


def test_sees_contents_in_their_order_and_whether_paths_are_there(watch: Watch, files: tuple[Path, Path]) -> None:
    files[1].write_bytes(b"dc\n")
    assert watch.read() == (b"up\n", b"dc\n", True)


def test_sees_what_is_written_in_place(watch: Watch, files: tuple[Path, Path]) -> None:
    for content in (b"down\n", b"", b"x" * 4096, b"\0\xff", b"up\n"):
        files[0].write_bytes(content)
        assert watch.read()[0] == content


def test_sees_a_file_that_took_the_place_of_another(watch: Watch, files: tuple[Path, Path]) -> None:
    new = files[0].with_name("new")
    new.write_bytes(b"down\n")
    new.replace(files[0])
    assert watch.read()[0] == b"down\n"


def test_sees_that_a_file_went_and_came_again(watch: Watch, files: tuple[Path, Path]) -> None:
    for _ in range(3):
        files[0].unlink()
        assert watch.read() == (errno.ENOENT, b"up\n", False)
        files[0].write_bytes(b"down\n")
        assert watch.read() == (b"down\n", b"up\n", True)


def test_sees_a_file_behind_a_link(calls: HostCalls, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"up\n")
    (tmp_path / "link").symlink_to("target")
    watch = calls.watch((tmp_path / "link",), ())
    assert watch.read() == (b"up\n",)
    (tmp_path / "target").unlink()
    assert watch.read() == (errno.ENOENT,)
    watch.close()


def test_tells_what_cannot_be_read_by_its_errno(watch: Watch, files: tuple[Path, Path]) -> None:
    files[0].unlink()
    os.mkfifo(files[0])
    files[1].write_bytes(b"x" * 4097)
    assert watch.read() == (errno.EINVAL, errno.EFBIG, True)
    files[0].unlink()
    files[0].symlink_to(files[0].name)
    files[1].unlink()
    files[1].symlink_to("/proc/self/mem")  # it opens, but there is nothing to read at its beginning
    assert watch.read() == (errno.ELOOP, errno.EIO, False)


def test_never_reads_a_file_that_got_the_number_of_the_descriptor(watch: Watch, files: tuple[Path, Path]) -> None:
    other = files[0].with_name("other")
    other.write_bytes(b"of somebody else\n")
    number = next((n for n, path in descriptors().items() if path == str(files[0])), None)
    if number is None:
        pytest.skip("it keeps none open")
    mine = os.open(other, os.O_RDONLY)
    os.dup2(mine, number)
    try:
        assert watch.read() == (b"up\n", b"up\n", True)
        assert os.readlink(f"/proc/self/fd/{number}") == str(other)  # nor is it closed
    finally:
        os.close(mine)
        os.close(number)


def test_keeps_no_descriptor_once_it_is_closed(calls: HostCalls, files: tuple[Path, Path]) -> None:
    before = descriptors()
    watch = calls.watch(files, files)
    for _ in range(3):
        watch.read()
        files[0].unlink()
        watch.read()
        files[0].write_bytes(b"up\n")
    watch.close()
    watch.close()
    assert descriptors() == before


def test_keeps_at_most_one_descriptor_for_each_file(watch: Watch, files: tuple[Path, Path]) -> None:
    before = len(descriptors())
    for number in range(20):
        new = files[0].with_name("new")
        new.write_bytes(STATES[number % 2])
        new.replace(files[0])
        assert watch.read()[0] == STATES[number % 2]
    assert len(descriptors()) == before


@pytest.mark.parametrize("room", [0, 3, 20])
def test_watch_keeps_only_what_the_limit_leaves(
    calls: HostCalls, tmp_path: Path, low_limit: Callable[[int], None], room: int
) -> None:
    paths = [tmp_path / str(number) for number in range(10)]
    for path in paths:
        path.write_bytes(path.name.encode())
    before = descriptors()
    first, first_watch = min({*range(len(before) + 1)} - before.keys()), calls.watch(paths, ())
    low_limit(first + room + RESERVED)
    other_watch = calls.watch(paths, ())
    for watch in (first_watch, other_watch, first_watch, other_watch):
        assert watch.read() == tuple(path.name.encode() for path in paths)
        kept = descriptors().keys() - before.keys()
        assert len(kept) <= room
        assert all(number < first + room for number in kept)
    low_limit(RESERVED)  # by prlimit(1) for instance
    assert first_watch.read() == other_watch.read()
    assert descriptors() == before
    first_watch.close()
    other_watch.close()


def test_sees_the_kernels_own_attributes(calls: HostCalls) -> None:
    paths = (Path("/sys/devices/system/cpu/online"), Path("/sys/kernel/fscaps"))
    if not all(path.exists() for path in paths):
        pytest.skip("no sysfs here")
    watch = calls.watch(paths, paths)
    assert watch.read() == watch.read() == (*map(Path.read_bytes, paths), True, True)
    watch.close()
