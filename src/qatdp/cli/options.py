"""Options that several commands share. Their variables carry no command's name: QATDP_SYSFS serves all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_SOCKET = Path("/run/qatdp/status.sock")
FOLDER = click.Path(file_okay=False, path_type=Path)


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
            "--dev", type=FOLDER, default="/dev", envvar="QATDP_DEV", show_default=True, help="Stands for /dev."
        ),
        click.option(
            "--sysfs", type=FOLDER, default="/sys", envvar="QATDP_SYSFS", show_default=True, help="Stands for /sys."
        ),
    ):
        command = option(command)
    return command


def socket_option(command: Command) -> Command:
    """Add what says where the daemon answers."""
    return click.option(
        "--socket",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="QATDP_SOCKET",
        help=f"Unix socket on which the daemon tells its status.  [default: {DEFAULT_SOCKET}, with the real /sys]",
    )(command)


def socket_of(given: Path | None, sysfs: Path) -> Path | None:
    """Return the socket that is meant: of a made tree nobody's, unless it is named."""
    return given or (DEFAULT_SOCKET if is_real(sysfs) else None)


def is_real(sysfs: Path) -> bool:
    return sysfs.resolve() == Path("/sys")
