"""How the log is written: for people, or one JSON object a line.

The messages of this code are words followed by key=value. JSON gets these as fields of their own, from the message's
template, so that no line has to be written twice.
"""

import json
import logging
import re
import sys
import time
from typing import Any

from qatdp.core.text import printable

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
FIELD = re.compile(r"\s*(?:(\w+)=)?%[-#0 +]*[\d.]*[srdgf]")
OWN = ("time", "level", "logger", "msg", "error")


def set_up(level: str, form: str) -> None:
    """Log to standard error from now on. `form` is text or json."""
    logging.basicConfig(level=level.upper(), stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT))


class TextFormatter(logging.Formatter):
    """One line a message, whatever the values in it are, and nothing that a terminal obeys; tracebacks have more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging has it
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - as logging has it
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


class JsonFormatter(logging.Formatter):
    """Times are UTC. A field that would be one of the formatter's own stays in the event's text."""

    def format(self, record: logging.LogRecord) -> str:
        words, found = _fields(record)
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": words,
            **found,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _fields(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    """Return the message without its fields, and the fields; the whole message where the template does not fit."""
    values = record.args if isinstance(record.args, tuple) else ()
    matches = list(FIELD.finditer(str(record.msg)))
    if len(matches) != len(values):
        return record.getMessage(), {}
    fields: dict[str, object] = {
        match[1]: value if isinstance(value, int | float | str | None) else str(value)
        for match, value in zip(matches, values, strict=True)
        if match[1] and match[1] not in OWN
    }
    rest = tuple(value for match, value in zip(matches, values, strict=True) if match[1] not in fields)
    words = FIELD.sub(lambda match: "" if match[1] in fields else match[0], str(record.msg))
    return words % rest if rest else words.replace("%%", "%"), fields
