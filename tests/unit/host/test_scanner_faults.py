"""One device that is broken is a Problem, and its neighbours are untouched; no tree makes a scan fail."""

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qatdp.core.config.model import Config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.pools import Pools, build_pools
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import host_calls
from qatdp.host.poller import AttributePoller
from qatdp.simulator.host.calls import FaultyCalls
from qatdp.simulator.host.node import FakeHost, fake_host

pytestmark = pytest.mark.usefixtures("calls")

BAD = PciAddress.parse("0000:e8:00.3")  # one of 32


def pools_of(snapshot: Snapshot) -> Pools:
    pools, _ = build_pools(snapshot, Config(), {}, moment=1)
    return pools


def listed(pools: Pools) -> Set[PciAddress]:
    return {device.address for pool in pools.pools.values() for device in pool.devices}


TEXTS = ("", "0", "-5", "0x", "0x4940", "0x4941", "1_0", "9" * 4000, "sym;asym", "dc", "up", "\0", "\n", "../..")

Break = Callable[[FakeHost, PciAddress, str], None]


def holds(text: str) -> Break:
    return lambda host, at, name: host.attribute(at, name, text)


KINDS: Mapping[str, Break] = {
    "gone": lambda host, at, name: host.attribute(at, name, None),
    "FIFO": lambda host, at, name: host.fifo(at, name),
    "oversize": lambda host, at, name: host.attribute(at, name, b"x" * 5000),
    "no text": lambda host, at, name: host.attribute(at, name, b"\xff\0\xfe"),
    "loop": lambda host, at, name: host.link(at, name, name.rpartition("/")[2]),
    "dangling": lambda host, at, name: host.link(at, name, "../../nowhere/0000:99:00.0"),
    "upwards": lambda host, at, name: host.link(at, name, "../.."),
    "to itself": lambda host, at, name: host.link(at, name, f"../{at}"),
    "no name": lambda host, at, name: host.link(at, name, "../\udcff"),
    **{f"text {text[:9]!r}": holds(text) for text in TEXTS},
}


# One of 32


def no_driver(host: FakeHost) -> None:
    host.unbind(BAD)


def another_driver(host: FakeHost) -> None:
    host.unbind(BAD)
    host.load_driver("uio_pci_generic")
    host.bind(BAD, "uio_pci_generic")


def a_group_with_a_device_in_use(host: FakeHost) -> None:
    host.share_group(BAD, host.add_device("0000:e9:00.0", driver="nvme"))


def no_link_to_its_pf_or_from_it(host: FakeHost) -> None:
    host.attribute("0000:e8:00.0", "virtfn2", None)
    host.attribute(BAD, "physfn", None)


def broken(kind: str, attribute: str) -> Callable[[FakeHost], None]:
    return lambda host: KINDS[kind](host, BAD, attribute)


BREAKS: Mapping[str, Callable[[FakeHost], None]] = {
    "no group": broken("gone", "iommu_group"),
    "group that is no link": broken("FIFO", "iommu_group"),
    "group that is no number": broken("upwards", "iommu_group"),
    "group that does not know it": lambda host: host.link(BAD, "iommu_group", "../../../kernel/iommu_groups/1"),
    "group that is not there": lambda host: host.link(BAD, "iommu_group", "../../../kernel/iommu_groups/9999"),
    "group with a device in use": a_group_with_a_device_in_use,
    "no driver": no_driver,
    "another driver": another_driver,
    "driver link that dangles": broken("dangling", "driver"),
    "driver that is no link": broken("FIFO", "driver"),
    "no node in dev": lambda host: host.node(BAD).unlink(),
    "not there, but its PF names it": broken("gone", ""),
    "no link to its PF or from it": no_link_to_its_pf_or_from_it,
    **{
        f"{attribute}: {kind}": broken(kind, attribute)
        for attribute in ("vendor", "device", "numa_node")
        for kind in ("FIFO", "loop", "oversize", "no text", "text '0x'", "text ''", "text '999999999'")
    },
}


@pytest.mark.parametrize("break_it", BREAKS.values(), ids=BREAKS)
def test_one_broken_vf_of_32_is_left_out_alone(host: FakeHost, break_it: Callable[[FakeHost], None]) -> None:
    others = {vf for pf in host.fill(pfs=2) for vf in host.vfs(pf)} - {BAD}
    break_it(host)
    pools = pools_of(host.scan())
    assert len(others) == 31
    assert listed(pools) == others


@pytest.mark.parametrize("attribute", ["vendor", "device", "numa_node", "driver", "iommu_group"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_one_unreadable_vf_of_32_is_left_out_alone_with_the_reason(host: FakeHost, attribute: str, number: int) -> None:
    others = {vf for pf in host.fill(pfs=2) for vf in host.vfs(pf)} - {BAD}
    pools = pools_of(host.scan(FaultyCalls(host_calls(), {f"{BAD}/{attribute}": number})))
    assert listed(pools) == others
    assert f"{attribute} cannot be read" in str(pools.excluded[BAD])


@pytest.mark.parametrize("attribute", ["vendor", "device", "driver", "iommu_group", "numa_node", "vfio-dev"])
def test_one_vf_of_32_that_goes_in_mid_scan_takes_no_other_with_it(host: FakeHost, attribute: str) -> None:
    others = {vf for pf in host.fill(pfs=2) for vf in host.vfs(pf)} - {BAD}
    pools = pools_of(host.scan(FaultyCalls(host_calls(), {f"{BAD}/{attribute}": lambda: host.remove(BAD)})))
    assert listed(pools) == others


def test_vf_that_goes_before_its_group_is_looked_at_is_left_out(host: FakeHost) -> None:
    others = {vf for pf in host.fill(pfs=2) for vf in host.vfs(pf)} - {BAD}
    going = {f"iommu_groups/{host.group(BAD)}/devices": lambda: host.remove(BAD)}
    pools = pools_of(host.scan(FaultyCalls(host_calls(), going)))
    assert listed(pools) == others


def test_pf_that_goes_in_mid_scan_takes_its_own_vfs_alone(host: FakeHost) -> None:
    pfs = host.fill(pfs=2)
    others = {vf for pf in pfs[1:] for vf in host.vfs(pf)}
    pools = pools_of(host.scan(FaultyCalls(host_calls(), {f"{pfs[0]}/virtfn7": lambda: host.remove(pfs[0])})))
    assert listed(pools) == others


@pytest.mark.parametrize(
    "break_link",
    [
        lambda host, pf: host.link(pf, "virtfn2", "../nowhere"),
        lambda host, pf: host.attribute(pf, "virtfn2", ""),
        lambda host, pf: host.fifo(pf, "virtfn2"),
    ],
    ids=["to no address", "a file", "a FIFO"],
)
def test_a_broken_link_to_one_vf_takes_no_other_from_its_pf(
    host: FakeHost, break_link: Callable[[FakeHost, PciAddress], None]
) -> None:
    pf, _ = host.fill(pfs=2, vfs=4)
    others = set(host.vfs(pf)) - {host.vfs(pf)[2]}
    break_link(host, pf)
    snapshot = host.scan()
    assert others <= listed(pools_of(snapshot))
    assert len(snapshot.problems) == 1


# Any fault


PF_NAMES = ("vendor", "device", "numa_node", "driver", "qat", "qat/state", "qat/cfg_services", "virtfn0", "virtfn1")
VF_NAMES = ("vendor", "device", "numa_node", "driver", "iommu_group", "physfn", "vfio-dev")
ERRNOS = (errno.ENOENT, errno.ENODEV, errno.ENODATA, errno.EIO, errno.EACCES, errno.ELOOP, errno.EMFILE, errno.EINTR)
PF, PFS_VFS = 0, (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an attribute of a PF or of one of its VFs.

    A kind is there before the scan. An errno comes up whenever it is looked at; None: the device goes at that moment.
    """

    device: int  # PF, or one of PFS_VFS
    name: str
    what: str | int | None


WRONG = st.sampled_from(list(KINDS)) | st.sampled_from(ERRNOS) | st.none()
FAULTS = st.builds(Fault, st.just(PF), st.sampled_from(PF_NAMES), WRONG) | st.builds(
    Fault, st.sampled_from(PFS_VFS), st.sampled_from(VF_NAMES), WRONG
)


@settings(max_examples=2 * settings().max_examples)
@given(faults=st.lists(FAULTS, min_size=1, max_size=4))
def test_whatever_is_wrong_with_devices_their_neighbours_are_untouched(faults: list[Fault]) -> None:
    with fake_host() as host:
        pf, _ = host.fill(pfs=2, vfs=len(PFS_VFS))
        host.add_device("0000:17:00.0")
        devices = (pf, *host.vfs(pf))
        broken = {devices[fault.device] for fault in faults}
        broken |= set(devices) if pf in broken else set()
        before = host.scan()
        calls = faulty_calls(host, devices, faults)

        after = host.scan(calls)

        assert neighbours(after, broken) == neighbours(before, broken)
        pools = pools_of(after)
        assert {*pools.excluded, *listed(pools)} == {vf.address for vf in after.vfs}
        AttributePoller(host.sysfs, calls).values(after)


def faulty_calls(host: FakeHost, devices: Sequence[PciAddress], faults: Iterable[Fault]) -> HostCalls:
    """Break what is broken before the scan, and return the calls that break the rest."""
    in_mid_scan: dict[str, int | Callable[[], None]] = {}
    for fault in faults:
        device = devices[fault.device]
        if isinstance(fault.what, int):
            in_mid_scan[f"{device}/{fault.name}"] = fault.what
        elif fault.what is None:
            in_mid_scan[f"{device}/{fault.name}"] = partial(vanish, host, device)
        elif host.path(device, fault.name).parent.is_dir():  # another fault can have taken the folder qat
            KINDS[fault.what](host, device, fault.name)
    return FaultyCalls(host_calls(), in_mid_scan)


def vanish(host: FakeHost, device: PciAddress) -> None:
    if host.path(device).exists():
        host.remove(device)


def neighbours(snapshot: Snapshot, broken: Collection[PciAddress]) -> object:
    """Return all that a snapshot says of what is not broken."""
    vfs = [vf for vf in snapshot.vfs if vf.address not in broken]
    return (
        [pf for pf in snapshot.pfs if pf.address not in broken],
        vfs,
        [snapshot.group(vf.iommu_group) for vf in vfs],
        [snapshot.problem(vf.address) for vf in vfs],
        snapshot.drivers,
    )
