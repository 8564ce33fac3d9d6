"""`qatdp provision`: makes this node's PFs what the configuration says, for an init container or a boot unit."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from qatdp import configfile
from qatdp.cli.options import kubelet_options, node_options, output_option, who, writer_options
from qatdp.cli.table import Row, print_lines, table
from qatdp.core.config.model import Config
from qatdp.core.model.qat import default_name, in_order
from qatdp.daemon.provision import Kubelet, Provision, Report
from qatdp.descriptors import raise_limit
from qatdp.errors import ConfigError
from qatdp.host.calls.choose import host_calls
from qatdp.host.pf.context import CHILD, PfContext, PfTiming

COLUMNS = ("pf", "family", "numaNode", "services", "desired", "outcome", "reason", "message")
TITLES = {"numaNode": "numa"}


@click.command()
@node_options
@kubelet_options
@writer_options
@click.option("--dry-run", is_flag=True, envvar="QATDP_DRY_RUN", help="Show what would be done, and do nothing.")
@click.option(
    "--strict",
    is_flag=True,
    envvar="QATDP_STRICT",
    help="Exit with status 1 if a PF is not as desired; not with --dry-run.",
)
@output_option
@click.pass_obj
def provision(
    child: Sequence[str] | None,
    config_file: Path | None,
    sysfs: Path,
    dev: Path,
    kubelet_dir: Path,
    pod_resources: Path | None,
    node_name: str | None,
    lock_dir: Path,
    deadline: float,
    *,
    dry_run: bool,
    strict: bool,
    output: str,
) -> None:
    """Make this node's PFs what the configuration's `provision` says, and tell what became of each.

    A PF with a VF in use is not touched. One that is busy or fails does not fail the command, except with --strict.
    """
    raise_limit()  # each PF that changes has a process, and a pipe to it and from it
    # A simulated node has processes of its own that write to it; nobody else passes an object.
    site = PfContext(sysfs, dev, lock_dir, who("provision"), child or CHILD, PfTiming(step_s=deadline))
    config = configfile.load(config_file) if config_file else Config()
    kubelet = Kubelet(kubelet_dir / "device-plugins", pod_resources or kubelet_dir / "pod-resources")
    try:
        job = Provision(config, node_name, host_calls(), site, kubelet)
    except ConfigError as error:
        raise error.of_file(config_file) from error
    report = asyncio.run(job.look() if dry_run else job.run())
    _print(report, output)
    if strict and not report.as_wished and not dry_run:
        sys.exit(1)


def _print(report: Report, output: str) -> None:
    """Print what became of each PF, and what the spec cannot be on this node."""
    rows = list(_rows(report))
    if output == "json":
        told = {"rounded": report.plan.rounded, "unmet": report.plan.unmet}
        steps = {str(one.address): [str(step) for step in one.steps] for one in report.plan.pfs}
        click.echo(json.dumps({"pfs": [{**row, "steps": steps[str(row["pf"])]} for row in rows], **told}, indent=2))
        return
    print_lines(table(rows, COLUMNS, TITLES) if rows else ("no QAT PFs",))
    print_lines(f"rounded: {line}" for line in report.plan.rounded)
    print_lines(f"not met: {line}" for line in report.plan.unmet)


def _rows(report: Report) -> Iterator[Row]:
    for pf, one, outcome in zip(report.snapshot.pfs, report.plan.pfs, report.outcomes, strict=True):
        goal = one.goal
        yield {
            "pf": str(pf.address),
            "family": pf.family.name,
            "numaNode": pf.numa_node,
            "services": ";".join(in_order(pf.services)) if pf.services else pf.services_text,
            "desired": None
            if goal is None
            else ";".join(in_order(goal.services))
            if goal.services
            else default_name(None),
            "outcome": str(outcome.status),
            "reason": str(outcome.why.reason) if outcome.why else None,
            "message": outcome.message,
        }
