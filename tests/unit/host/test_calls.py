"""What every HostCalls must do, whichever language it is written in."""

import errno
import os
import select
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from qatdp.host.calls.abc import ATTRIBUTE_BYTES, HostCalls
from qatdp.simulator.host.node import FakeHost

ONLINE = Path("/sys/devices/system/cpu/online")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "attribute"
    path.write_bytes(b"0x8086\n")
    return path


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    path = tmp_path / "loop"
    path.symlink_to("loop")
    return path


@pytest.fixture
def dangling(tmp_path: Path) -> Path:
    path = tmp_path / "dangling"
    path.symlink_to("../nowhere/0000:6b:00.1")
    return path


def raises(number: int, call: Callable[[], object]) -> bool:
    with pytest.raises(OSError, match=r".") as caught:
        call()
    return caught.value.errno == number


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# read


@pytest.mark.parametrize(
    "content",
    [b"", b"0x8086\n", b"no newline", b"0\n\0", b"\0", b"\xff\xfe not text", b"x" * ATTRIBUTE_BYTES],
    ids=["empty", "line", "no newline", "trailing NUL", "NUL", "no text", "a page"],
)
def test_read_gives_the_bytes_as_they_are(calls: HostCalls, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert calls.read(file) == content


def test_read_starts_at_the_beginning_each_time(calls: HostCalls, file: Path) -> None:
    assert calls.read(file) == calls.read(file) == b"0x8086\n"


def test_read_refuses_more_than_a_page(calls: HostCalls, file: Path) -> None:
    file.write_bytes(b"x" * (ATTRIBUTE_BYTES + 1))
    assert raises(errno.EFBIG, lambda: calls.read(file))


def test_read_follows_links(calls: HostCalls, file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert calls.read(tmp_path / "link" / file.name) == b"0x8086\n"


def test_read_refuses_a_fifo_and_does_not_wait_for_its_writer(calls: HostCalls, fifo: Path) -> None:
    assert raises(errno.EINVAL, lambda: calls.read(fifo))


def test_read_refuses_a_folder_and_a_device(calls: HostCalls, tmp_path: Path) -> None:
    assert raises(errno.EINVAL, lambda: calls.read(tmp_path))
    assert raises(errno.EINVAL, lambda: calls.read(Path("/dev/null")))


def test_read_tells_why_there_is_nothing(calls: HostCalls, file: Path, loop: Path, dangling: Path) -> None:
    assert raises(errno.ENOENT, lambda: calls.read(file.with_name("absent")))
    assert raises(errno.ENOENT, lambda: calls.read(dangling))
    assert raises(errno.ELOOP, lambda: calls.read(loop))
    assert raises(errno.ENOTDIR, lambda: calls.read(file / "below"))


@pytest.mark.skipif(not ONLINE.exists(), reason="no sysfs here")
def test_read_reads_the_kernels_own_sysfs(calls: HostCalls) -> None:
    assert calls.read(ONLINE).startswith(b"0")


# write


def test_write_writes_the_bytes_as_they_are(calls: HostCalls, file: Path) -> None:
    file.write_bytes(b"")
    calls.write(file, b"vfio-pci\n")
    assert file.read_bytes() == b"vfio-pci\n"


def test_write_makes_no_file(calls: HostCalls, tmp_path: Path, dangling: Path) -> None:
    assert raises(errno.ENOENT, lambda: calls.write(tmp_path / "absent", b"1"))
    assert raises(errno.ENOENT, lambda: calls.write(dangling, b"1"))
    assert os.listdir(tmp_path) == ["dangling"]


def test_write_refuses_a_folder(calls: HostCalls, tmp_path: Path) -> None:
    assert raises(errno.EISDIR, lambda: calls.write(tmp_path, b"1"))


def test_write_does_not_wait_for_the_reader_of_a_fifo(calls: HostCalls, fifo: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        calls.write(fifo, b"1")


def test_write_puts_nothing_into_a_fifo_that_has_a_reader(calls: HostCalls, fifo: Path) -> None:
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert raises(errno.EINVAL, lambda: calls.write(fifo, b"1"))
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


# link


@pytest.mark.parametrize("target", ["0000:6b:00.1", "../0000:6b:00.1", "/sys/bus/pci/devices/0000:6b:00.1"])
def test_link_gives_the_last_component_wherever_it_leads(calls: HostCalls, tmp_path: Path, target: str) -> None:
    (tmp_path / "virtfn0").symlink_to(target)
    assert calls.readlink_name(tmp_path / "virtfn0") == "0000:6b:00.1"


def test_link_tells_why_there_is_none(calls: HostCalls, file: Path, fifo: Path) -> None:
    assert raises(errno.EINVAL, lambda: calls.readlink_name(file))
    assert raises(errno.EINVAL, lambda: calls.readlink_name(fifo))
    assert raises(errno.EINVAL, lambda: calls.readlink_name(file.parent))
    assert raises(errno.ENOENT, lambda: calls.readlink_name(file.with_name("absent")))
    assert raises(errno.ENOTDIR, lambda: calls.readlink_name(file / "driver"))


# names


def test_names_are_sorted(calls: HostCalls, tmp_path: Path) -> None:
    for name in ("b", "a", "c10", "c9", ".d"):
        (tmp_path / name).touch()
    assert list(calls.listdir(tmp_path)) == [".d", "a", "b", "c10", "c9"]


def test_names_of_an_empty_folder_are_none(calls: HostCalls, tmp_path: Path) -> None:
    assert list(calls.listdir(tmp_path)) == []


def test_names_that_are_no_utf8_lead_to_their_files(calls: HostCalls, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"1\n")
    assert [calls.read(tmp_path / name) for name in calls.listdir(tmp_path)] == [b"1\n"]


def test_names_tells_why_there_is_no_folder(calls: HostCalls, file: Path, fifo: Path, loop: Path) -> None:
    assert raises(errno.ENOENT, lambda: calls.listdir(file.with_name("absent")))
    assert raises(errno.ENOTDIR, lambda: calls.listdir(file))
    assert raises(errno.ENOTDIR, lambda: calls.listdir(fifo))
    assert raises(errno.ELOOP, lambda: calls.listdir(loop))


# exists


def test_exists_of_whatever_is_there(calls: HostCalls, file: Path, fifo: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file.name)
    assert all(calls.exists(path) for path in (file, fifo, tmp_path, tmp_path / "link", Path("/dev/null")))


def test_exists_is_false_where_it_cannot_be_told(calls: HostCalls, file: Path, loop: Path, dangling: Path) -> None:
    absent = (file.with_name("absent"), file / "below", loop, dangling, file.with_name("n" * 300))
    assert not any(calls.exists(path) for path in absent)


# all


def test_a_path_with_a_nul_in_it_leads_nowhere(calls: HostCalls, tmp_path: Path) -> None:
    path = tmp_path / "a\0b"
    for call in (calls.read, calls.readlink_name, calls.listdir, lambda path: calls.write(path, b"1")):
        with pytest.raises(ValueError, match="null"):
            call(path)
    assert not calls.exists(path)


def test_asking_about_a_whole_bus_keeps_no_descriptor(calls: HostCalls, host: FakeHost) -> None:
    host.fill(pfs=2, vfs=4)
    host.fifo("0000:6b:00.0", "qat/state")
    host.link("0000:6b:00.1", "driver", "driver")
    before = descriptors()
    calls.read_bus(host.sysfs, host.dev)
    calls.read_bus(host.sysfs / "nowhere", host.dev / "vfio/vfio")
    assert descriptors() == before


def test_no_call_keeps_a_descriptor(calls: HostCalls, file: Path, fifo: Path, loop: Path, dangling: Path) -> None:
    large = file.with_name("large")
    large.write_bytes(b"x" * (ATTRIBUTE_BYTES + 1))
    paths = (file, fifo, loop, dangling, large, file.parent, file / "below", file.with_name("absent"))
    before = descriptors()
    for path in paths:
        for call in (
            calls.read,
            calls.readlink_name,
            calls.listdir,
            calls.exists,
            lambda path: calls.write(path, b"1"),
        ):
            try:
                call(path)
            except OSError:
                continue
    assert descriptors() == before


# VFIO: tests/integration/node asks real groups


def test_vfio_is_asked_of_its_own_nodes_alone(calls: HostCalls, file: Path) -> None:
    for ask in (calls.vfio_version, calls.vfio_group, lambda path: calls.vfio_extension(path, 3)):
        assert raises(errno.ENOENT, partial(ask, file.with_name("absent")))
        assert raises(errno.ENOTTY, partial(ask, file))
        assert raises(errno.ENOTTY, partial(ask, Path("/dev/null")))
        assert raises(errno.EISDIR, partial(ask, file.parent))


def test_vfio_leaves_nothing_open(calls: HostCalls, file: Path) -> None:
    before = descriptors()
    raises(errno.ENOTTY, lambda: calls.vfio_group(file))
    assert descriptors() == before


# notify


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "new").write_text("x"),
        lambda folder: (folder / "file").write_text("x"),
        lambda folder: (folder / "file").unlink(),
        lambda folder: (folder / "file").chmod(0o600),
        lambda folder: (folder / "file").rename(folder / "other"),
    ],
    ids=["created", "written", "deleted", "attributes", "renamed"],
)
def test_notify_can_be_read_once_something_has_changed(
    calls: HostCalls, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    (tmp_path / "file").write_text("")
    descriptor = calls.notify((tmp_path,))
    try:
        assert not is_readable(descriptor)
        change(tmp_path)
        assert is_readable(descriptor)
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_notify_tells_which_folder_it_cannot_watch_and_leaves_nothing_open(calls: HostCalls, file: Path) -> None:
    before = descriptors()
    assert raises(errno.ENOENT, lambda: calls.notify((file.parent, file.with_name("absent"))))
    assert raises(errno.ENOTDIR, lambda: calls.notify((file,)))
    assert descriptors() == before
