"""One process configures a PF or a node, and says who it is to whoever comes second.

Nobody else can hold a lock, or have one written where he likes, though he may write to the folder that is given.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from qatdp.host.pf.locks import Lock, LockedError, LockFolderError, LockOwner

WHO = LockOwner("qatdp-x7k2p", 17, "provision", "2026-11-25T19:41:21+00:00")
NAME = "node.lock"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that anybody may write to."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    return tmp_path / "run"


def test_who_comes_second_is_told_who_has_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "new", NAME, WHO)
    with pytest.raises(LockedError) as caught:
        Lock(tmp_path / "new", NAME, LockOwner("other", 1, "provision", ""))
    lock.close()
    assert str(caught.value) == ("qatdp-x7k2p (process 17, provision) configures it since 2026-11-25T19:41:21+00:00")


def test_what_an_ended_process_has_left_behind_locks_nothing(tmp_path: Path) -> None:
    Lock(tmp_path, NAME, WHO).close()
    (tmp_path / "locks" / NAME).write_text('{"holder": "a name that is longer than the next one"' * 9)
    for _ in range(2):
        Lock(tmp_path, NAME, WHO).close()


def test_a_holder_that_has_not_written_yet_is_told_as_one(tmp_path: Path) -> None:
    lock = Lock(tmp_path, NAME, WHO)
    (tmp_path / "locks" / NAME).write_text("{")
    with pytest.raises(LockedError, match="another process configures it"):
        Lock(tmp_path, NAME, WHO)
    lock.close()


def test_lock_folder_is_nobody_elses(shared: Path) -> None:
    before = os.umask(0)
    try:
        Lock(shared, NAME, WHO).close()
    finally:
        os.umask(before)
    folder, file = (shared / "locks").stat(), (shared / "locks" / NAME).stat()
    assert (stat.S_IMODE(folder.st_mode), stat.S_IMODE(file.st_mode)) == (0o700, 0o600)
    assert folder.st_uid == file.st_uid == os.geteuid()


def a_link(folder: Path) -> None:
    (folder.parent / "target").mkdir(mode=0o700)
    (folder / "locks").symlink_to(folder.parent / "target")


def a_dangling_link(folder: Path) -> None:
    (folder / "locks").symlink_to(folder.parent / "target")


def a_file(folder: Path) -> None:
    (folder / "locks").touch()


def a_fifo(folder: Path) -> None:
    os.mkfifo(folder / "locks")


def of_a_group(folder: Path) -> None:
    (folder / "locks").mkdir()
    (folder / "locks").chmod(0o770)


def read_only(folder: Path) -> None:
    (folder / "locks").mkdir(mode=0o500)


def of_another_user(folder: Path) -> None:
    (folder / "locks").mkdir(mode=0o700)
    try:
        os.chown(folder / "locks", 65534, 65534)
    except PermissionError:
        pytest.skip("it takes root to give a folder away")


@pytest.mark.parametrize("make", [a_link, a_dangling_link, a_file, a_fifo, of_a_group, read_only, of_another_user])
def test_lock_folder_that_is_not_ours_is_refused(shared: Path, make: Callable[[Path], None]) -> None:
    make(shared)
    with pytest.raises(LockFolderError, match=r"must be (root|user \d+)'s alone \(0700\)") as caught:
        Lock(shared, NAME, WHO)
    assert caught.value.hint is not None
    assert f"remove {shared / 'locks'}" in caught.value.hint
    assert not (shared.parent / "target" / NAME).exists()


def test_lock_file_is_never_reached_through_a_link(shared: Path) -> None:
    (shared / "locks").mkdir(mode=0o700)
    (shared / "precious").write_text("kept")
    for target in ("precious", "made"):
        (shared / "locks" / NAME).symlink_to(shared / target)
        with pytest.raises(LockFolderError, match="Too many levels of symbolic links"):
            Lock(shared, NAME, WHO)
        (shared / "locks" / NAME).unlink()
    assert (shared / "precious").read_text() == "kept"
    assert not (shared / "made").exists()


def test_lock_file_must_be_a_file(shared: Path) -> None:
    (shared / "locks").mkdir(mode=0o700)
    os.mkfifo(shared / "locks" / NAME)
    with pytest.raises(LockFolderError, match="not a regular file"):
        Lock(shared, NAME, WHO)


def test_lock_says_which_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LockFolderError, match=r"file/locks/node\.lock cannot be used: (Not a directory|File exists)"):
        Lock(tmp_path / "file", NAME, WHO)
