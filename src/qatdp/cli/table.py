"""What commands write for people: lines, and tables of rows that programs get as JSON.

The one place where text goes to a terminal. Some of it comes from sysfs, the kubelet or a file, so whatever a terminal
would obey is escaped: here for what commands show, in logs.py for the log, in __init__.py for errors.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import click

from qatdp.core.text import printable

Row: TypeAlias = Mapping[str, Any]


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Write lines to standard output, or to standard error."""
    for line in lines:
        click.echo(printable(line), err=err)


def table(rows: Sequence[Row], columns: Sequence[str], titles: Mapping[str, str]) -> Iterable[str]:
    """Yield a title and a line for each row; what is not known is a dash."""
    heads = [titles.get(column, column).upper() for column in columns]
    cells = [["-" if row[column] is None else printable(str(row[column])) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
