"""`qatdp run --provision` is killed in the middle of a repartition: the next daemon makes of the node what is wished.

Each time the line moves, from two PFs for crypto to one or back, from wherever the time before has left it.
"""

import itertools
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import pfs, vfio
from ground.configmap import ConfigMap
from ground.daemon import Daemon
from ground.kubelet import ListTaken
from ground.node import CY, DC, Node
from ground.provisioning import (
    Seen,
    Stumble,
    compression_pf,
    crypto_pf,
    look,
    stopped_writer,
    stumbling,
    wish,
    with_child,
    writers,
)
from ground.waiting import until, until_equal

# At the first write it is as it was, at the second it is down, at the third it has its services, at the fifth it is up,
# at the eighth one VF is bound; from there on all is as at the eighth.
PLACES = (1, 3, 5, 8)
VFS = 16  # of a PF


class Moving:
    """A node on which a managing daemon moves the line back and forth. Its writers stumble as `stumble` says."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._crypto, self._stumbling = 50, folder / "stumbling.json"
        self._config = ConfigMap(folder / "config", wish(self._crypto))
        self.stumble(Stumble.ORPHANED, 0)
        program = with_child(stumbling(self._stumbling, Stumble.ORPHANED, {}))
        options = ("--provision", f"--lock-dir={folder}/locks")
        self.daemon = Daemon(node.kubelet, node.logs, "killed", self._config, program=program, options=options)

    def stumble(self, how: Stumble, place: int) -> None:
        """Let the next writer stumble at its write of that place, whichever PF it writes to; 0: at none."""
        stumbling(self._stumbling, how, dict.fromkeys(pfs.pf_addresses(), place))

    def wish_for_another(self) -> None:
        self._crypto = 75 - self._crypto
        self._config.write(wish(self._crypto))

    def is_as_wished(self) -> bool:
        return Counter(look().values()) == self._shape()

    def _shape(self) -> Counter[Seen]:
        crypto = self._crypto * 4 // 100
        return Counter({crypto_pf(): crypto, compression_pf(): 4 - crypto})

    def is_killed_at(self, place: int) -> bool:
        """Move the line until the daemon is killed just before that write. False: it has done all by then."""
        done = self._done()
        self.stumble(Stumble.ORPHANED, place)
        self.wish_for_another()
        until("it is killed or has done all", lambda: self.daemon.ended() is not None or self._done() > done)
        return not self.daemon.runs

    def _done(self) -> int:
        """Return how many PFs have got other services; what else was done to bare ones may be told late."""
        return self.daemon.log().count("outcome=Changed reason=None message='down, services")

    def complete(self) -> None:
        """Let a daemon make the node as it is wished, in whose way nobody is."""
        self.stumble(Stumble.ORPHANED, 0)
        if not self.daemon.runs:
            self.daemon.start()
        until("the node is as wished", self.is_as_wished)
        crypto, compression = (VFS * self._shape()[of] for of in (crypto_pf(), compression_pf()))
        self.daemon.wait_for_lists({CY: ListTaken(crypto, crypto), DC: ListTaken(compression, compression)})


@pytest.fixture(scope="module")
def moving(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    vfio.load()
    moving = Moving(node, tmp_path_factory.mktemp("killed"))
    moving.complete()
    node.use_a_vf()
    yield moving
    moving.daemon.close()
    for pf in node.services:
        pfs.bring_to_default(pf)
    pfs.configure(node.services)


@pytest.mark.parametrize("place", PLACES)
def test_a_daemon_killed_at_a_write_leaves_what_the_next_one_completes(moving: Moving, place: int) -> None:
    assert moving.is_killed_at(place)
    assert not moving.is_as_wished()
    moving.complete()
    assert not writers()


@pytest.mark.skipif(not os.environ.get("SWEEP"), reason="takes minutes: SWEEP=1 tests/integration/node/run")
def test_a_daemon_killed_at_each_of_its_writes_leaves_what_the_next_one_completes(moving: Moving) -> None:
    for place in itertools.count(int(os.environ["SWEEP"])):
        killed = moving.is_killed_at(place)
        moving.complete()
        with (Path("/run/guest") / "sweep").open("a") as file:
            file.write(f"write {place}: killed {killed}, and the node is as wished\n")
        if not killed:
            break
    assert place > VFS


def test_a_writer_that_hangs_outlives_its_daemon_and_the_next_one_waits_for_it_alone(moving: Moving) -> None:
    """What it writes takes away a VF that somebody has opened since it was asked for."""
    moving.stumble(Stumble.HELD_UP, 1)
    moving.wish_for_another()
    writer = until("a writer is held up", stopped_writer)
    moving.stumble(Stumble.HELD_UP, 0)
    pf = re.findall("PF change scheduled pf=(\\S+)", moving.daemon.log())[-1]
    with vfio.held(pfs.vf_addresses(pf)[0]):
        os.kill(writer, signal.SIGCONT)
        until("its write hangs in the kernel", lambda: look()[pf].state == "down")
        moving.daemon.kill()
        assert writer in writers(), "the kernel ends it with its write"
        since = len(moving.daemon.log())
        moving.daemon.start()
        until("the next one finds it", lambda: "configures it since" in moving.daemon.log()[since:])
        until_equal(
            "all but its VFs are offered", lambda: sum(taken.healthy for taken in moving.daemon.lists().values()), 48
        )
    until("the writer has ended with its write", lambda: writer not in writers())
    moving.complete()


def healthy(daemon: Daemon) -> int:
    return sum(taken.healthy for taken in daemon.lists().values())
