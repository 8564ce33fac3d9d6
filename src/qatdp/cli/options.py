"""Options that several commands share. Their variables carry no command's name: QATDP_SYSFS serves all."""

import datetime as dt
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from qatdp.files import too_long
from qatdp.host.pf.context import PfTiming
from qatdp.host.pf.locks import LockOwner

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_SOCKET = Path("/run/qatdp/status.sock")
LONGEST_S = 3600.0
FOLDER = click.Path(file_okay=False, path_type=Path)


class _Seconds(click.FloatRange):
    """A range that `nan` is not in: to click it is neither too small nor too large."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click has it
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


def node_options(command: Command) -> Command:
    """Add what says where the node's files are."""
    for option in (
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            envvar="QATDP_CONFIG",
            show_envvar=True,
            help="Configuration file (see: qatdp config). Without one, each set of services is a resource.",
        ),
        click.option(
            "--dev", type=FOLDER, default="/dev", envvar="QATDP_DEV", show_default=True, help="Used instead of /dev."
        ),
        click.option(
            "--sysfs",
            type=FOLDER,
            default="/sys",
            envvar="QATDP_SYSFS",
            show_default=True,
            help="Used instead of /sys.",
        ),
    ):
        command = option(command)
    return command


def kubelet_options(command: Command) -> Command:
    """Add what says where the kubelet is."""
    for option in (
        click.option(
            "--pod-resources",
            type=FOLDER,
            envvar="QATDP_POD_RESOURCES",
            help="Folder of the PodResources socket.  [default: KUBELET_DIR/pod-resources]",
        ),
        click.option(
            "--kubelet-dir",
            type=FOLDER,
            default="/var/lib/kubelet",
            envvar="QATDP_KUBELET_DIR",
            show_default=True,
            help="The kubelet's folder.",
        ),
    ):
        command = option(command)
    return command


def output_option(command: Command) -> Command:
    """Add what says for whom it is written."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        envvar="QATDP_OUTPUT",
        show_default=True,
        help="A table, or JSON.",
    )(command)


def writer_options(command: Command) -> Command:
    """Add what those need to know who configure PFs."""
    for option in (
        click.option(
            "--deadline",
            type=_Seconds(min=0.1, max=LONGEST_S),
            default=PfTiming().step_s,
            envvar="QATDP_DEADLINE",
            show_default=True,
            help="Seconds that one step on a PF may take.",
        ),
        click.option(
            "--lock-dir",
            type=FOLDER,
            default="/run/qatdp",
            envvar="QATDP_LOCK_DIR",
            show_default=True,
            help="Folder for the locks of PFs, in `locks` below it. The same for every process on this node.",
        ),
        node_name_option,
    ):
        command = option(command)
    return command


def node_name_option(command: Command) -> Command:
    """Add what says which node this is."""
    return click.option(
        "--node-name", envvar="QATDP_NODE_NAME", help="The node's name, for the configuration's patterns and rollouts."
    )(command)


def who(mode: str) -> LockOwner:
    """Return who writes, for others to read."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return LockOwner(socket.gethostname(), os.getpid(), mode, now)


class _SocketPath(click.Path):
    """The path of a Unix socket, which is short."""

    def convert(
        self, value: str | os.PathLike[str], parameter: click.Parameter | None, context: click.Context | None
    ) -> Path:
        path = Path(os.fsdecode(super().convert(value, parameter, context)))
        if why := too_long(path):
            self.fail(why, parameter, context)
        return path


def socket_option(command: Command) -> Command:
    """Add what says where the daemon answers."""
    return click.option(
        "--socket",
        type=_SocketPath(dir_okay=False, path_type=Path),
        envvar="QATDP_SOCKET",
        help=f"Unix socket of the daemon's status pages.  [default: {DEFAULT_SOCKET}, with the real /sys]",
    )(command)


def socket_of(given: Path | None, sysfs: Path) -> Path | None:
    """Return the socket that is meant: of a simulated tree nobody's, unless it is named."""
    return given or (DEFAULT_SOCKET if is_real(sysfs) else None)


def is_real(sysfs: Path) -> bool:
    return sysfs.resolve() == Path("/sys")
