"""`qatdp run`: the daemon."""

import asyncio
import logging
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path

import click

from qatdp.cli.options import FOLDER, node_options
from qatdp.core.binding import BindMode
from qatdp.daemon.run import Daemon, Settings
from qatdp.host.choose import compiled_calls, host_calls

log = logging.getLogger(__name__)

MODES = {"free": BindMode.FREE, "take": BindMode.TAKE, "never": BindMode.NEVER}


@click.command()
@node_options
@click.option(
    "--kubelet-dir",
    type=FOLDER,
    default="/var/lib/kubelet",
    envvar="QATDP_KUBELET_DIR",
    show_default=True,
    help="The kubelet's folder, which holds device-plugins.",
)
@click.option(
    "--pod-resources",
    type=FOLDER,
    envvar="QATDP_POD_RESOURCES",
    help="Folder of the PodResources socket.  [default: KUBELET_DIR/pod-resources]",
)
@click.option(
    "--bind",
    is_flag=False,
    flag_value="free",
    default="never",
    type=click.Choice(list(MODES)),
    envvar="QATDP_BIND",
    show_default=True,
    help="Which VFs to bind to VFIO. free: those that have no driver. take: those of the kernel's VF drivers as well. "
    "--bind alone is --bind=free.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="QATDP_LOG_LEVEL",
    show_default=True,
    help="What is logged to standard error.",
)
def run(
    config_file: Path | None,
    sysfs: Path,
    dev: Path,
    kubelet_dir: Path,
    pod_resources: Path | None,
    bind: str,
    log_level: str,
) -> None:
    """Offer this node's QAT functions to the kubelet, until SIGTERM or SIGINT.

    SIGHUP looks at everything anew, the configuration as well. Without --bind nothing on the machine is changed.
    """
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    settings = Settings(
        sysfs=sysfs,
        dev=dev,
        plugins=kubelet_dir / "device-plugins",
        pod_resources=pod_resources or kubelet_dir / "pod-resources",
        config=config_file,
        bind=MODES[bind],
        # The kernel's events are about /sys; a made tree has none.
        listen_to_uevents=sysfs.resolve() == Path("/sys"),
    )
    log.info("qatdp version=%s host_calls=%s", version("qatdp"), host_calls().name)
    if compiled_calls() is None:
        log.info("no C helper was compiled: nothing is amiss, a scan takes longer")
    asyncio.run(_serve(settings))
    log.info("stopped")
    logging.shutdown()
    # Not by returning: a thread that hangs in a read of the kernel's would keep the process.
    os._exit(0)


async def _serve(settings: Settings) -> None:
    daemon = Daemon(settings, host_calls())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.look_anew)
    await daemon.run()
