"""`qatdp config`: the configuration's schema, and whether a file is valid."""

import json
from pathlib import Path

import click

from qatdp import configfile
from qatdp.cli.options import node_name_option
from qatdp.cli.table import print_lines
from qatdp.core.config.describe import describe_specs
from qatdp.core.config.model import Config, full_name
from qatdp.core.config.schema import config_schema
from qatdp.core.config.warnings import config_warnings


@click.group()
def config() -> None:
    """Check a configuration, or print its JSON schema."""


@config.command()
def schema() -> None:
    """Print the JSON schema of the configuration."""
    click.echo(json.dumps(config_schema(), indent=2))


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
@node_name_option
def check(file: Path, node_name: str | None) -> None:
    """Check FILE: exit status 0 if it is valid, else 2 with the key that is wrong and how to mend it.

    A setting that is valid but probably not intended is a warning; the status is 0.

    Describes what PFs should be and, with --node-name, which entry that node takes.
    """
    found = configfile.load(file)
    for warning in config_warnings(found):
        print_lines((f"Warning: {warning}",), err=True)
    print_lines((f"{file}: valid ({_summary(found)})", *describe_specs(found.provision, node_name)))


def _summary(found: Config) -> str:
    names = list(dict.fromkeys(full_name(rule.name) for rule in found.resources))
    if not names:
        return "default names for all VFs"
    rest = "default names for the VFs they leave" if found.default_resources else "other VFs are not offered"
    return f"{', '.join(names)}; {rest}"
