"""`qatdp run`: the daemon."""

import asyncio
import ipaddress
import logging
import os
import re
import signal
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import click

from qatdp.cli import logs
from qatdp.cli.options import (
    FOLDER,
    is_real,
    kubelet_options,
    node_options,
    socket_of,
    socket_option,
    who,
    writer_options,
)
from qatdp.core.pools.binding import BindMode
from qatdp.core.text import shown
from qatdp.daemon.app import Daemon
from qatdp.daemon.settings import Managing, Settings
from qatdp.descriptors import raise_limit
from qatdp.host.calls.choose import compiled_calls, host_calls
from qatdp.host.pf.context import CHILD, PfContext, PfTiming
from qatdp.kubelet.registration import room_in
from qatdp.pages.pages import Address

log = logging.getLogger(__name__)

PORT = re.compile(r"[0-9]{1,5}")
LAST_PORT = 65535

MODES = {"free": BindMode.FREE, "take": BindMode.TAKE, "never": BindMode.NEVER}


# A host's name (RFC 1123), of which the last part is no number: 1.2.3.4.5 is a slip.
HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*(?!\d+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


class ListenAddress(click.ParamType[Address]):
    name = "[ADDRESS]:PORT"

    def convert(
        self, value: str | Address, parameter: click.Parameter | None, context: click.Context | None
    ) -> Address:
        if isinstance(value, Address):
            return value
        host, colon, port = value.rpartition(":")
        if not (colon and PORT.fullmatch(port) and int(port) <= LAST_PORT and _is_host(host)):
            wanted = "not an address and port, such as :9546, 127.0.0.1:9546 or [::1]:9546"
            self.fail(f"{shown(value)} is {wanted}", parameter, context)
        return Address(host.removeprefix("[").removesuffix("]") or None, int(port))


def _is_host(text: str) -> bool:
    """Return whether a text is empty, an address (of IPv6 in brackets), or the name of a host."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else None
    try:
        address = ipaddress.ip_address(inner or text)
    except ValueError:
        return not text or bool(HOST.fullmatch(text))
    return (address.version == 6) == (inner is not None)


@click.command()
@node_options
@kubelet_options
@click.option(
    "--bind",
    is_flag=False,
    flag_value="free",
    default="never",
    type=click.Choice(list(MODES)),
    envvar="QATDP_BIND",
    show_default=True,
    help="Which VFs to bind to VFIO. free: those without a driver. take: also those of the kernel's VF drivers. "
    "--bind alone is --bind=free.",
)
@click.option(
    "--provision",
    is_flag=True,
    envvar="QATDP_PROVISION",
    help="Keep PFs as the configuration's `provision` says, while pods run. Implies --bind=free.",
)
@writer_options
@click.option(
    "--listen",
    type=ListenAddress(),
    envvar="QATDP_LISTEN",
    help="Serve /metrics, /healthz and /readyz here, for instance :9546. Without it, only the socket serves pages.",
)
@click.option(
    "--listen-status",
    is_flag=True,
    envvar="QATDP_LISTEN_STATUS",
    help="Serve /status on --listen as well: everything the daemon knows, with the names of pods.",
)
@socket_option
@click.option(
    "--heartbeat/--no-heartbeat",
    default=True,
    envvar="QATDP_HEARTBEAT",
    show_default=True,
    help="Read the PFs' heartbeat each second. With auto_reset on, that resets a PF whose firmware does not answer.",
)
@click.option(
    "--pod-resources-list/--no-pod-resources-list",
    "lists",
    default=True,
    envvar="QATDP_POD_RESOURCES_LIST",
    show_default=True,
    help="Make the kubelet forget ended pods when a VF of theirs has to leave its list. Without it such a "
    "VF is withheld until the kubelet admits another pod.",
)
@click.option(
    "--pod-logs",
    type=FOLDER,
    default="/var/log/pods",
    envvar="QATDP_POD_LOGS",
    show_default=True,
    help="Folder with the pods' log folders, whose names map UIDs to pods. Nothing in them is read.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="QATDP_LOG_LEVEL",
    show_default=True,
    help="What is logged to standard error.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="QATDP_LOG_FORMAT",
    show_default=True,
    help="Text, or one JSON object per line.",
)
@click.pass_obj
def run(
    child: Sequence[str] | None,
    config_file: Path | None,
    sysfs: Path,
    dev: Path,
    kubelet_dir: Path,
    pod_resources: Path | None,
    bind: str,
    node_name: str | None,
    lock_dir: Path,
    deadline: float,
    listen: Address | None,
    socket: Path | None,
    log_level: str,
    log_format: str,
    pod_logs: Path,
    *,
    heartbeat: bool,
    lists: bool,
    listen_status: bool,
    provision: bool,
) -> None:
    """Offer this node's QAT functions to the kubelet, until SIGTERM or SIGINT.

    SIGHUP rescans the node and reloads the configuration. Without --bind and --provision nothing on the machine is
    changed. With an invalid or missing configuration the daemon waits, as running pods need a device plugin; use
    `qatdp config check` to fail early.
    """
    if listen_status and not listen:
        raise click.UsageError("--listen-status needs --listen, which says where")
    logs.set_up(log_level, log_format)
    raise_limit()
    room_in(kubelet_dir / "device-plugins")
    settings = Settings(
        sysfs=sysfs,
        dev=dev,
        plugins=kubelet_dir / "device-plugins",
        pod_resources=pod_resources or kubelet_dir / "pod-resources",
        pod_logs=pod_logs,
        lists=lists,
        config=config_file,
        bind=BindMode.FREE if provision and MODES[bind] is BindMode.NEVER else MODES[bind],
        # A simulated node has processes of its own that write to it; nobody else passes an object.
        provision=Managing(PfContext(sysfs, dev, lock_dir, who("run"), child or CHILD, PfTiming(deadline)), node_name)
        if provision
        else None,
        listen=listen,
        listen_status=listen_status,
        heartbeat=heartbeat,
        socket=socket_of(socket, sysfs),
        # The kernel's events are about /sys; a simulated tree has none.
        listen_to_uevents=is_real(sysfs),
    )
    log.info("qatdp version=%s host_calls=%s", version("qatdp"), host_calls().name)
    if compiled_calls() is None:
        log.info("using pure-Python host calls (C helper not built)")
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
    loop.add_signal_handler(signal.SIGHUP, daemon.reload)
    await daemon.run()
