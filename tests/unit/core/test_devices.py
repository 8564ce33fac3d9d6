"""The rows of `qatdp devices`: each VF once, with what is known of it, also when it has gone or is in no list."""

from dataclasses import replace

from support.strategies import a_pf, a_snapshot, group_of, its_vfs

from qatdp.core.config.model import Config, parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.pools import Pools, build_pools
from qatdp.core.release.protocol import Ledger, LedgerEntry, Step
from qatdp.core.status.devices import listing
from qatdp.core.status.report import DeviceReport, Holder

CY = "qat.intel.com/cy"
PF = a_pf("0000:6b:00.0", numa_node=1)
VFS = its_vfs(PF, 3)
NODE = a_snapshot([PF], VFS)
FIRST, SECOND, THIRD = (vf.address for vf in VFS)
GROUP = group_of(PF.address, 0)
DEFAULTS = Config()
NOBODY: Ledger = {}


def rows(
    snapshot: Snapshot = NODE, config: Config = DEFAULTS, known: Ledger = NOBODY, **of: dict[PciAddress, list[Holder]]
) -> list[DeviceReport]:
    pools, ledger = build_pools(snapshot, config, known, 10)
    return list(listing(snapshot, config, pools, ledger, **of))


def test_a_vf_that_is_offered_has_a_row_with_all_of_it() -> None:
    known = {FIRST: LedgerEntry(CY, Step.AVAILABLE, 1, VFS[0])}
    assert rows(known=known)[0] == DeviceReport(
        address="0000:6b:00.1",
        pf="0000:6b:00.0",
        services="asym;sym",
        resource=CY,
        numa_node=1,
        iommu_group=GROUP,
        driver="vfio-pci",
        node=f"/dev/vfio/{GROUP}",
        health="Healthy",
        reason=None,
        message=None,
        hold="Available",
        proof="None",
        withdrawing=False,
        holders=(),
    )


def test_each_vf_has_one_row_in_the_order_of_addresses() -> None:
    assert [row.address for row in rows()] == list(map(str, (FIRST, SECOND, THIRD)))


def test_the_node_is_of_the_kind_that_its_resource_hands_out() -> None:
    config = parse_config({"version": 1, "resources": [{"name": "cy", "deviceNode": "cdev"}]})
    assert {row.node for row in rows(config=config)} == {f"/dev/vfio/devices/vfio{vf.address.number}" for vf in VFS}


def test_a_vf_that_has_gone_is_told_as_it_was_last_seen() -> None:
    known = {FIRST: LedgerEntry(CY, Step.HELD, 1, VFS[0])}
    row = rows(a_snapshot([PF], VFS[1:]), known=known)[0]
    assert (row.address, row.pf, row.driver, row.numa_node) == (str(FIRST), str(PF.address), "vfio-pci", 1)
    assert (row.resource, row.hold, row.health, row.reason) == (CY, "Cordoned", "Unhealthy", "NotPresent")


def test_one_that_was_never_seen_is_told_as_far_as_it_is_known() -> None:
    row = rows(a_snapshot([PF]), known={FIRST: LedgerEntry(CY, Step.HELD, 1)})[0]
    assert row.resource == CY
    assert (row.pf, row.services, row.numa_node, row.iommu_group, row.driver, row.node) == (None,) * 6


def test_a_vf_that_no_list_has_is_told_with_its_reason() -> None:
    loose = replace(VFS[0], driver="4xxxvf", nodes=())
    row = rows(a_snapshot([PF], (loose,)))[0]
    assert (row.resource, row.health, row.hold, row.node) == (None, None, None, None)
    assert (row.reason, "4xxxvf" in str(row.message)) == ("KernelDriver", True)


def test_a_vf_on_its_way_out_is_leaving() -> None:
    known = {FIRST: LedgerEntry(CY, Step.HELD, 1, VFS[0]), SECOND: LedgerEntry(CY, Step.AVAILABLE, 1, VFS[1])}
    renamed = parse_config({"version": 1, "resources": [{"name": "fast", "services": ["sym", "asym"]}]})
    assert [row.withdrawing for row in rows(config=renamed, known=known)] == [True, True, False]
    assert not any(row.withdrawing for row in rows(known=known))


def test_who_has_it_is_told_in_one_order() -> None:
    one, other = Holder("ns", "pod", "a"), Holder("ns", "pod", "b")
    assert [row.holders for row in rows(holders={SECOND: [other, one]})] == [(), (one, other), ()]


def test_of_a_pf_that_is_not_known_services_are_as_its_kernel_has_written_them() -> None:
    odd = a_pf("0000:6b:00.0", services="sym;new")
    assert {row.services for row in rows(a_snapshot([odd], its_vfs(odd, 1)))} == {"sym;new"}
    assert {row.services for row in rows(a_snapshot([], its_vfs(PF, 1)))} == {None}


def test_without_pools_each_vf_has_a_row_all_the_same() -> None:
    assert [row.reason for row in listing(NODE, DEFAULTS, Pools({}, {}), {})] == [None] * 3
