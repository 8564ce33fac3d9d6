"""One process configures a PF or a node, and says who it is to whoever comes second."""

from pathlib import Path

import pytest

from qatdp.host.locks import Lock, LockedError, Who

WHO = Who("qatdp-x7k2p", 17, "provision", "2026-11-25T19:41:21+00:00")


def test_who_comes_second_is_told_who_has_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "locks/node.lock", WHO)
    with pytest.raises(LockedError) as caught:
        Lock(tmp_path / "locks/node.lock", Who("other", 1, "provision", ""))
    lock.close()
    assert str(caught.value) == ("qatdp-x7k2p (process 17, provision) configures it since 2026-11-25T19:41:21+00:00")


def test_what_an_ended_process_has_left_behind_locks_nothing(tmp_path: Path) -> None:
    (tmp_path / "node.lock").write_text('{"holder": "a name that is longer than the next one"' * 9)
    for _ in range(2):
        Lock(tmp_path / "node.lock", WHO).close()


def test_a_holder_that_has_not_written_yet_is_told_as_one(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "node.lock", WHO)
    (tmp_path / "node.lock").write_text("{")
    with pytest.raises(LockedError, match="another process configures it"):
        Lock(tmp_path / "node.lock", WHO)
    lock.close()
