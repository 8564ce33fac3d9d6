"""The command: `qatdp run`, `provision`, `devices`, `config`, `simulate`. Every option is a variable QATDP_* as well.

Exit status: 0 done, 1 something failed, 2 wrong usage or configuration, 128 + n ended by signal n against its will.
"""

import os
from importlib import import_module

import click

from qatdp.core.text import printable
from qatdp.errors import QatdpError

COMMANDS = ("config", "devices", "provision", "run", "simulate")

# gRPC's C core tells on standard error of every stream that ends, which is our business to tell. It reads this when it
# is imported, as some commands do.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


class _Failed(click.ClickException):
    """An error of ours, shown as click shows its own: what, and on a line of its own how to mend it."""

    def __init__(self, error: QatdpError) -> None:
        lines = (error.message, f"Hint: {error.hint}") if error.hint else (error.message,)
        super().__init__("\n".join(map(printable, lines)))
        self.exit_code = error.exit_status  # type: ignore[misc] # click's own subclasses set it as well


class _Group(click.Group):
    """Imports a command when it is asked for: gRPC alone takes longer to load than `devices` does to answer."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return getattr(import_module(f"qatdp.cli.{name}"), name) if name in COMMANDS else None

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except QatdpError as error:
            raise _Failed(error) from error


@click.group(
    cls=_Group,
    context_settings={"auto_envvar_prefix": "QATDP", "help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every option is also an environment variable: --kubelet-dir is QATDP_KUBELET_DIR. "
    "Exit status: 0 done, 1 failed, 2 wrong usage or configuration.",
)
@click.version_option(package_name="qatdp", prog_name="qatdp")
def main() -> None:
    """The QAT device plugin for Kubernetes."""
