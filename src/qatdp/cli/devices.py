"""`qatdp devices`: each VF of this node, and what becomes of it, as a daemon would see it that starts now."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from qatdp.cli.options import node_options
from qatdp.core.config import Config
from qatdp.core.offer import node_of
from qatdp.core.pools import PoolDevice, Pools, build_pools
from qatdp.core.qat import in_order
from qatdp.core.snapshot import PhysicalFunction, Snapshot, VirtualFunction
from qatdp.daemon.look import Look
from qatdp.errors import QatdpError
from qatdp.host import configfile
from qatdp.host.choose import host_calls

Row = Mapping[str, str | int | None]
COLUMNS = ("pf", "address", "services", "resource", "numa_node", "iommu_group", "driver", "node", "health", "reason")
TITLES = {"address": "vf", "numa_node": "numa", "iommu_group": "group"}


@click.command()
@node_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    envvar="QATDP_OUTPUT",
    show_default=True,
    help="For people or for programs.",
)
def devices(config_file: Path | None, sysfs: Path, dev: Path, output: str) -> None:
    """List this node's QAT VFs, the resource each belongs to, and why one is not offered.

    It looks at the machine and changes nothing; what pods hold now, only the running daemon knows.
    """
    config = configfile.load(config_file) if config_file else Config()
    snapshot = Look(sysfs, dev, host_calls())(config).snapshot
    _check_listed(snapshot, sysfs)
    pools, _ = build_pools(snapshot, config, {}, moment=1)
    rows = list(_rows(snapshot, config, pools))
    problems = [{"where": problem.where, "reason": problem.reason} for problem in snapshot.problems]
    if output == "json":
        click.echo(json.dumps({"devices": rows, "problems": problems}, indent=2))
        return
    click.echo("\n".join(_table(rows)) if rows else "no QAT VFs")
    for line in _about_pfs(snapshot):
        click.echo(line)


def _check_listed(snapshot: Snapshot, sysfs: Path) -> None:
    """Raise QatdpError where nothing is known of the bus, which is not the same as a node without VFs."""
    bus = str(sysfs / "bus/pci/devices")
    for problem in snapshot.problems:
        if problem.where == bus:
            raise QatdpError(f"{bus} {problem.reason}", hint="--sysfs is a mounted sysfs, or a copy of one")


def _rows(snapshot: Snapshot, config: Config, pools: Pools) -> Iterator[Row]:
    listed = {device.address: (name, device) for name, pool in pools.pools.items() for device in pool.devices}
    for vf in snapshot.vfs:
        resource, device = listed.get(vf.address, (None, None))
        yield _row(vf, snapshot.pf(vf.pf), resource, device, pools.left_out.get(vf.address), config)


def _row(
    vf: VirtualFunction,
    pf: PhysicalFunction | None,
    resource: str | None,
    device: PoolDevice | None,
    why_not: str | None,
    config: Config,
) -> Row:
    node = node_of(vf, config.options(resource or "").node)
    return {
        "address": str(vf.address),
        "pf": str(vf.pf) if vf.pf else None,
        "services": _services(pf),
        "resource": resource,
        "numa_node": vf.numa_node,
        "iommu_group": vf.iommu_group,
        "driver": vf.driver,
        "node": node.path if node else None,
        "health": str(device.health) if device else None,
        "reason": device.reason if device else why_not,
    }


def _services(pf: PhysicalFunction | None) -> str | None:
    if pf is None:
        return None
    return ";".join(in_order(pf.services)) if pf.services else pf.services_text


def _table(rows: Sequence[Row]) -> Iterable[str]:
    titles = [TITLES.get(column, column).upper() for column in COLUMNS]
    cells = [["-" if row[column] is None else str(row[column]) for column in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for line in (titles, *cells):
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def _about_pfs(snapshot: Snapshot) -> Iterator[str]:
    """Yield what no row tells: PFs without a VF, and what could not be read."""
    with_vfs = {vf.pf for vf in snapshot.vfs}
    for pf in snapshot.pfs:
        if pf.address not in with_vfs:
            state = f"is {pf.state} and " if pf.state else ""
            yield f"PF {pf.address} ({pf.family.name}) {state}has no VFs (they come by writing its sriov_numvfs)"
    rows = {str(vf.address) for vf in snapshot.vfs}
    for problem in snapshot.problems:
        if problem.where not in rows:
            yield f"problem: {problem.where}: {problem.reason}"
