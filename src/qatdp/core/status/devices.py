"""The VFs of a node, each with what becomes of it: the rows of `qatdp devices`, whoever makes them."""

from collections.abc import Collection, Iterator, Mapping

from qatdp.core.config.model import Config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import in_order
from qatdp.core.model.snapshot import PhysicalFunction, Snapshot, VirtualFunction
from qatdp.core.pools.pools import PoolDevice, Pools
from qatdp.core.pools.view import node_of
from qatdp.core.reasons import Defect
from qatdp.core.release.protocol import LEAVING, Ledger
from qatdp.core.status.report import DeviceReport, Holder


def listing(
    snapshot: Snapshot,
    config: Config,
    pools: Pools,
    ledger: Ledger,
    holders: Mapping[PciAddress, Collection[Holder]] | None = None,
) -> Iterator[DeviceReport]:
    """Yield the VFs that are there or in a list, by address; one that has gone, as it was last seen."""
    listed = {device.address: (name, device) for name, pool in pools.pools.items() for device in pool.devices}
    services = {pf.address: _services(pf) for pf in snapshot.pfs}  # a PF has many VFs
    for address in sorted({vf.address for vf in snapshot.vfs} | listed.keys()):
        resource, device = listed.get(address, (None, None))
        entry = ledger.get(address)
        vf = snapshot.vf(address) or (entry.vf if entry else None)
        node = node_of(vf, config.options(resource or "").device_node) if vf else None
        defect = _defect(device, vf, pools)
        yield DeviceReport(
            address=str(address),
            pf=str(vf.pf) if vf and vf.pf else None,
            services=services.get(vf.pf) if vf and vf.pf else None,
            resource=resource,
            numa_node=vf.numa_node if vf else None,
            iommu_group=vf.iommu_group if vf else None,
            driver=vf.driver if vf else None,
            node=node.path if node else None,
            health=str(device.health) if device else None,
            reason=str(defect.reason) if defect else None,
            message=str(defect) if defect else None,
            hold=str(entry.step.hold) if entry else None,
            proof=str(entry.step.proof) if entry else None,
            withdrawing=entry is not None and entry.step in LEAVING,
            holders=tuple(sorted((holders or {}).get(address, ()), key=lambda holder: holder.order)),
        )


def _services(pf: PhysicalFunction) -> str | None:
    return ";".join(in_order(pf.services)) if pf.services else pf.services_text


def _defect(device: PoolDevice | None, vf: VirtualFunction | None, pools: Pools) -> Defect | None:
    if device:
        return device.defect
    return pools.excluded.get(vf.address) if vf else None
