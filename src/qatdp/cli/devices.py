"""`qatdp devices`: each VF of this node, and what becomes of it.

The daemon is asked where one runs: it alone knows what pods hold, what is being withdrawn and what was sick a moment
ago, and it alone reads the heartbeat, which a second reader only disturbs. Otherwise the node is scanned, and shown as
a daemon would see it that starts now.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from qatdp import configfile
from qatdp.cli.options import node_options, output_option, socket_of, socket_option
from qatdp.cli.table import Row, print_lines, table
from qatdp.core.config.model import Config
from qatdp.core.model.pf_defects import why_no_vfs
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.pools import build_pools
from qatdp.core.provision.progress import Phase
from qatdp.core.reasons import Defect
from qatdp.core.status.devices import listing
from qatdp.core.status.report import DeviceReport, plain
from qatdp.daemon.scan import ScanAndBind
from qatdp.host.calls.choose import host_calls
from qatdp.host.scanner import check_listed
from qatdp.pages import client

COLUMNS = (
    "pf",
    "address",
    "services",
    "resource",
    "numaNode",
    "iommuGroup",
    "driver",
    "node",
    "health",
    "reason",
    "message",
)
TITLES = {"address": "vf", "numaNode": "numa", "iommuGroup": "group", "holders": "held by"}
# What a scan cannot know.
OF_A_DAEMON = {"hold", "proof", "withdrawing", "holders"}


@click.command()
@node_options
@socket_option
@output_option
def devices(config_file: Path | None, sysfs: Path, dev: Path, socket: Path | None, output: str) -> None:
    """List this node's QAT VFs, the resource each belongs to, and why one is not offered.

    Where the daemon runs, it tells; --config counts for nothing then. It changes nothing on the machine.
    """
    where = socket_of(socket, sysfs)
    found, why_not = _asked(where) if where else (None, "no socket of a daemon is given")
    if found is not None:
        _show(found, output, ("holders",))
        print_lines((f"As the daemon says, on {where}.{_age_of_holders(found)}",), err=True)
        return
    config = configfile.load(config_file) if config_file else Config()
    _show(_scanned(sysfs, dev, config), output)
    print_lines((f"Scanned just now, without any history: {why_not}.",), err=True)


def _asked(where: Path) -> tuple[client.Status | None, str]:
    try:
        return client.ask(where), ""
    except OSError as error:
        return None, f"no daemon answers on {where} ({error.strerror or error})"


def _scanned(sysfs: Path, dev: Path, config: Config) -> Row:
    snapshot = ScanAndBind(sysfs, dev, host_calls())(config).snapshot
    check_listed(snapshot, sysfs)
    pools, _ = build_pools(snapshot, config, {}, moment=1)
    rows = [_without_history(device) for device in listing(snapshot, config, pools, {})]
    problems = [{"where": problem.where, "message": problem.reason} for problem in snapshot.problems]
    return {"devices": rows, "problems": problems, "pfs": _pfs(snapshot)}


def _without_history(device: DeviceReport) -> Row:
    found = plain(device)
    assert isinstance(found, dict)
    return {key: value for key, value in found.items() if key not in OF_A_DAEMON}


def _pfs(snapshot: Snapshot) -> list[Row]:
    with_vfs = {vf.pf for vf in snapshot.vfs}
    return [
        {
            "address": str(pf.address),
            "family": pf.family.name,
            "state": pf.state,
            "driver": pf.driver,
            **({} if pf.address in with_vfs else _no_vfs(why_no_vfs(pf, snapshot))),
        }
        for pf in snapshot.pfs
    ]


def _no_vfs(why: Defect) -> Row:
    return {"noVfs": str(why.reason), "noVfsMessage": str(why)}


def _show(found: Row, output: str, more: Sequence[str] = ()) -> None:
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    rows = [{**row, "holders": _pods(row.get("holders", ()))} for row in found["devices"]]
    print_lines(table(rows, (*COLUMNS, *more), TITLES) if rows else ("no QAT VFs",))
    print_lines(_about_pfs(found))


def _pods(holders: Iterable[Row]) -> str | None:
    return (
        ",".join(f"{one['namespace']}/{one['pod']}" if one["pod"] else f"pod {one['uid']}" for one in holders) or None
    )


def _age_of_holders(found: client.Status) -> str:
    """Return of when the kubelet's checkpoint is, or why it is not known who holds what."""
    if found.get("checkpointError"):
        return f" Who holds a VF is not known: {found['checkpointError']}."
    written_s = found.get("checkpointWrittenAt")
    if written_s is None:
        return ""
    return f" Who holds a VF is as of the kubelet's last checkpoint, {max(time.time() - written_s, 0):.0f} s ago."


def _about_pfs(found: Row) -> Iterator[str]:
    """Yield what no row tells: PFs without a VF, what of their health cannot be seen, and what could not be read."""
    for pf in found["pfs"]:
        if why := pf.get("noVfsMessage"):
            yield f"PF {pf['address']} ({pf['family']}): {why}"
    for pf in found["pfs"]:
        if pf.get("progress") and pf.get("phase") != Phase.READY:
            yield f"PF {pf['address']} is {pf['progress']}"
    unseen: dict[tuple[str, str], list[str]] = {}
    for pf in found["pfs"]:
        for signal, reason in (pf.get("unavailableSignals") or {}).items():
            unseen.setdefault((signal, reason), []).append(pf["address"])
    for (signal, reason), pfs in unseen.items():
        yield f"health of PF {', '.join(pfs)} is judged without {signal}: {reason}"
    rows = {row["address"] for row in found["devices"]}
    for problem in found["problems"]:
        if problem["where"] not in rows:
            yield f"problem: {problem['where']}: {problem['message']}"
