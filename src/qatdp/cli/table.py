"""Tables for people, of rows that programs get as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]


def table(rows: Sequence[Row], columns: Sequence[str], titles: Mapping[str, str]) -> Iterable[str]:
    """Yield a title and a line for each row; what is not known is a dash."""
    heads = [titles.get(column, column).upper() for column in columns]
    cells = [["-" if row[column] is None else str(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
