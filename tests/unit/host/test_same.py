"""The C helper and its twin in Python see the same, whatever is wrong with a tree."""

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.scanner import snapshot
from qatdp.simulator.host import tree
from qatdp.simulator.host.groups import Iommu
from qatdp.simulator.host.node import FakeHost, fake_host

ATTRIBUTES = (
    "", "vendor", "device", "numa_node", "driver", "iommu_group", "physfn", "vfio-dev", "vfio-dev/vfio0", "qat",
    "qat/state", "qat/cfg_services", "virtfn0", "virtfn1", "virtfn2", "virtfn10", "virtfn01", "virtfn",
)  # fmt: skip
CONTENTS = (
    b"", b"\n", b"\0", b"0x8086\n", b"0x8086", b" 0x8086\0\n", b"0x4940\n", b"0x4941\n", b"0x37c9\n", b"32902\n",
    b"0x\n", b"-1\n", b"0x08086\n", b"0X8086\n", b"1_0\n", b"up\n", b"down\n", b"sym;asym\n", b"\xff\xfe", b"9" * 20,
    b"x" * 4096, b"x" * 4097, "\u0663\n".encode(),
)  # fmt: skip
TARGETS = (
    ".", "..", "/", "../nowhere/0000:99:00.0", "../0000:6b:00.1", "../0000:6B:00.1", "../00000:6b:00.1",
    "../10000:6b:00.1", "../0000:6b:20.0", "../0000:6b:00.8", "groups/7", "groups/007", "groups/-1", "groups/0/",
    "groups/9999999999", "\udcff", "drivers/vfio-pci", "drivers/uio", "/proc/self/mem", "/dev/null", "/" + "n" * 300,
)  # fmt: skip
NAMES = (
    "0000:ff:00.0", "0000:6b:1f.7", "0000:6B:00.0", "123456789:00:00.0", "6b:00.0", "nonsense", "\udcff", ".hidden",
    "a\nb",
)  # fmt: skip


def whole(calls: HostCalls, sysfs: Path, dev: Path) -> Snapshot:
    """Claim that the answers are all that a snapshot needs."""
    return snapshot(calls.read_bus(sysfs, dev), sysfs, dev)


def same(c: HostCalls, sysfs: Path, dev: Path) -> None:
    """Claim that both get the same answers, and that these are all that a snapshot needs."""
    answers = c.read_bus(sysfs, dev)
    assert answers == PortableCalls().read_bus(sysfs, dev)
    snapshot(answers, sysfs, dev)


class Mutation:
    """Things that go wrong in a simulated tree, by chance."""

    def __init__(self, host: FakeHost, chance: random.Random) -> None:
        self._host, self._chance = host, chance
        self._devices = [PciAddress.parse(name) for name in tree.names(host.devices)]

    def happen(self, number: int) -> None:
        try:
            self.KINDS[number % len(self.KINDS)](self)
        except OSError:  # an earlier one has broken what this one needs
            pass

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Let things go wrong without an end, so that a file goes between its name and its content, or in mid-read."""
        done = threading.Event()

        def go_on() -> None:
            while not done.is_set():
                self.happen(self._chance.randrange(len(self.KINDS)))

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _path(self, attribute: str | None = None) -> Path:
        """Return where nothing is, or is no more. A link may lead out of the tree, but nothing may be done there."""
        attribute = self._chance.choice(ATTRIBUTES) if attribute is None else attribute
        path = self._host.path(self._chance.choice(self._devices), attribute)
        if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(self._host.sysfs)):
            raise FileNotFoundError(path)
        tree.remove(path)
        return path

    def _content(self) -> None:
        tree.put(self._path(), self._chance.choice(CONTENTS))

    def _link(self) -> None:
        self._path().symlink_to(self._chance.choice((*TARGETS, self._path().name)))

    def _loop(self) -> None:
        """A link to itself, or two that point to each other."""
        one = self._path()
        other = self._chance.choice((one, self._path()))
        one.symlink_to(other)
        other.symlink_to(one)

    def _unreadable(self) -> None:
        """A file without any right, or one that can be opened and not be read, or one that cannot even by root."""
        path, target = self._path(), self._chance.choice(("", "/proc/self/mem", "/sys/bus/pci/rescan"))
        if target:
            path.symlink_to(target)
        else:
            tree.put(path, "0x8086")
            path.chmod(0)

    def _too_long(self) -> None:
        tree.put(self._path(), b"x" * self._chance.choice((4095, 4096, 4097, 1 << 16)))

    def _no_utf8(self) -> None:
        self._chance.choice((
            lambda: tree.put(self._path(), b"\xff\xfe\n"),
            lambda: self._path().symlink_to("\udcff"),
            lambda: tree.put(self._path("virtfn\udcff")),
        ))()  # fmt: skip

    def _gone(self) -> None:
        self._path()

    def _fifo(self) -> None:
        os.mkfifo(self._path())

    def _folder(self) -> None:
        self._path().mkdir()

    def _named(self) -> None:
        """Something among the devices that may be none."""
        path = self._host.devices / self._chance.choice(NAMES)
        path.symlink_to(self._chance.choice((self._host.folder(self._chance.choice(self._devices)), Path("nowhere"))))

    def _member(self) -> None:
        group = self._host.sysfs / f"kernel/iommu_groups/{self._chance.randrange(9)}"
        self._chance.choice((
            lambda: tree.put(group / "devices" / self._chance.choice(NAMES)),
            lambda: tree.put(group / "name", self._chance.choice(("vfio-noiommu", "other"))),
            lambda: tree.remove(group),
            lambda: tree.remove(group / "devices"),
        ))()  # fmt: skip

    def _node(self) -> None:
        names = ("vfio", "vfio/0", "vfio/3", "vfio/devices", "vfio/devices/vfio1")
        tree.remove(self._host.dev / self._chance.choice(names))

    def _driver(self) -> None:
        names = ("bus/pci/drivers", "bus/pci/drivers/vfio-pci", "kernel/debug")
        tree.remove(self._host.sysfs / self._chance.choice(names))

    def _other_domain(self) -> None:
        address = PciAddress.parse(f"{self._chance.choice((1, 0x10000)):04x}:01:00.0")
        if address not in self._devices:  # of which an attribute may be a FIFO now, whose open for writing waits
            self._devices.append(self._host.add_pf(address, "6xxx", vfs=2))

    # The more often one is named, the more often it happens.
    KINDS: ClassVar[Sequence[Callable[["Mutation"], None]]] = (
        _content, _content, _content, _link, _link, _link, _gone, _gone, _unreadable, _loop, _too_long, _no_utf8,
        _fifo, _folder, _named, _member, _node, _driver, _other_domain,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [*range(80), *(pytest.param(n, marks=pytest.mark.nightly) for n in range(80, 400))])
def test_of_a_broken_tree(c: HostCalls, seed: int) -> None:
    chance = random.Random(seed)
    with fake_host(iommu=chance.choice((Iommu.ON, Iommu.ON, Iommu.NOIOMMU)), cdevs=chance.random() < 0.5) as host:
        host.fill(pfs=2, vfs=3)
        host.add_pf("0000:3d:00.0", "c62x", vfs=2, vf_driver="c6xxvf")
        host.add_device("0000:17:00.0", driver="nvme")
        mutation = Mutation(host, chance)
        mutation.happen(seed)  # each kind comes first in ten of them
        for _ in range(chance.randrange(11)):
            mutation.happen(chance.randrange(len(mutation.KINDS)))
        same(c, host.sysfs, host.dev)
        with mutation.going_on():
            for calls in (c, PortableCalls()):
                whole(calls, host.sysfs, host.dev)
        same(c, host.sysfs, host.dev)


def test_of_a_whole_machine(c: HostCalls) -> None:
    with fake_host(cdevs=True) as host:
        host.fill()
        host.share_group(*host.vfs("0000:6b:00.0"))
        same(c, host.sysfs, host.dev)


def test_of_no_machine_at_all(c: HostCalls, tmp_path: Path) -> None:
    same(c, tmp_path, tmp_path)
    same(c, tmp_path / "sys", tmp_path / "dev")
    same(c, tmp_path / ("long/" * 1000), tmp_path)


def test_of_a_path_that_is_no_utf8(c: HostCalls, tmp_path: Path) -> None:
    folder = tmp_path / "\udcff"
    folder.mkdir()
    FakeHost(folder).fill(pfs=1, vfs=1)
    same(c, folder / "sys", folder / "dev")


def test_of_the_machine_that_this_is(c: HostCalls) -> None:
    same(c, Path("/sys"), Path("/dev"))


def test_of_more_than_the_first_portion_of_memory(c: HostCalls, host: FakeHost) -> None:
    """Long listings fill it; it is scanned again with more."""
    host.fill(pfs=1, vfs=1)
    folder = host.folder("0000:6b:00.0")
    for number in range(20000):
        (folder / f"{number:0240}").touch()
    same(c, host.sysfs, host.dev)


def test_while_devices_come_and_go(c: HostCalls, host: FakeHost) -> None:
    """What they see meanwhile may differ, and need only be whole; afterwards it is the same."""
    host.fill(pfs=2, vfs=8)
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for vf in host.vfs("0000:6b:00.0"):
                host.remove(vf)
            host.add_vfs("0000:6b:00.0", 8)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for calls in (c, PortableCalls()) * 50:
            whole(calls, host.sysfs, host.dev)
    finally:
        done.set()
        thread.join()
    same(c, host.sysfs, host.dev)
