"""The report as JSON, made row by row.

Not by one call of the encoder's: that keeps the interpreter's lock for all of a large node's rows, and with it the
event loop. Rows that are as they were keep their text.
"""

import json
from collections.abc import Iterable

from qatdp.core.status.report import DeviceReport, Report, StatusEvent, json_keys, plain


class StatusText:
    """For one thread at a time. `of` returns what json.dumps makes of all of it."""

    def __init__(self) -> None:
        self._rows: dict[DeviceReport | StatusEvent, str] = {}  # of the last report

    def of(self, report: Report) -> str:
        before, self._rows = self._rows, {}
        values = ((key, getattr(report, name)) for name, key in json_keys(Report))
        return "{" + ", ".join(f'"{key}": {self._value(value, before)}' for key, value in values) + "}"

    def _value(self, value: object, before: dict[DeviceReport | StatusEvent, str]) -> str:
        if not isinstance(value, tuple):
            return json.dumps(plain(value))
        return "[" + ", ".join(self._texts(value, before)) + "]"

    def _texts(self, rows: Iterable[object], before: dict[DeviceReport | StatusEvent, str]) -> Iterable[str]:
        for row in rows:
            if isinstance(row, DeviceReport | StatusEvent):
                text = self._rows[row] = before.get(row) or json.dumps(plain(row))
                yield text
            else:
                yield json.dumps(plain(row))
