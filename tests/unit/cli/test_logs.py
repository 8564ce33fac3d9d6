"""The log as JSON: each line is an object, with the message's key=value as fields of their own."""

import ast
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

import qatdp
from qatdp.cli.logs import FIELD, OWN, TEXT, JsonFormatter, TextFormatter
from qatdp.core.model.pci import PciAddress


def line(template: str, *values: object, error: bool = False) -> dict[str, Any]:
    info = sys.exc_info() if error else None
    record = logging.LogRecord("qatdp.x", logging.WARNING, "x.py", 1, template, values, info)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_keys_become_fields_and_the_words_stay() -> None:
    found = line("devices resource=%s is=%r vfs=%s in_s=%g", "r", "Unhealthy", PciAddress.parse("0000:6b:00.1"), 0.5)
    assert {key: found[key] for key in ("level", "logger", "msg")} == {
        "level": "warning",
        "logger": "qatdp.x",
        "msg": "devices",
    }
    assert (found["resource"], found["is"], found["vfs"], found["in_s"]) == ("r", "Unhealthy", "0000:6b:00.1", 0.5)
    assert found["time"].endswith("Z")


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("kept with its %d PFs reason=%r", (3, "x"), "kept with its 3 PFs"),
        ("no fields, 100 %", (), "no fields, 100 %"),
        ("of another's: %s", ({"a": 1},), "of another's: {'a': 1}"),
        ("its own msg=%s", ("x",), "its own msg=x"),
    ],
)
def test_whatever_is_no_field_stays_in_the_message(template: str, values: tuple[object, ...], message: str) -> None:
    assert line(template, *values)["msg"] == message


def test_a_traceback_is_a_field() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        assert "ValueError: broken" in line("task failed task=%s", "x", error=True)["error"]


def test_text_line_is_one_line_of_printable_characters() -> None:
    record = logging.LogRecord("qatdp.x", logging.WARNING, "x.py", 1, "lost where=%s", ("a\n\x1b[2J\udcff",), None)
    assert TextFormatter(TEXT).format(record).endswith(r" WARNING qatdp.x lost where=a\n\x1b[2J\udcff")


def test_text_traceback_keeps_its_lines_and_no_escape() -> None:
    try:
        raise ValueError("broken\x1b[2J")
    except ValueError:
        record = logging.LogRecord("qatdp.x", logging.ERROR, "x.py", 1, "task failed", (), sys.exc_info())
    lines = TextFormatter(TEXT).format(record).splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == r"ValueError: broken\x1b[2J"


def templates() -> list[str]:
    """Return the template of each call of `log` in qatdp."""
    files = Path(qatdp.__file__).parent.rglob("*.py")
    calls = [node for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "log"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    ]


def test_no_message_of_ours_uses_a_field_of_the_formatters_own() -> None:
    found = templates()
    assert len(found) > 20
    for template in found:
        keys = [match[1] for match in FIELD.finditer(template) if match[1]]
        assert not set(keys) & set(OWN) and len(set(keys)) == len(keys), template
