"""Which implementation is chosen, and what the one in C is there for."""

import subprocess
import sys

import pytest

from qatdp.errors import ConfigError
from qatdp.host.calls import choose
from qatdp.host.calls.choose import VARIABLE, compiled_calls, host_calls
from qatdp.simulator.host.node import FakeHost

# In a process of its own, as an audit hook is there for good. Also, what has no audit event does not work any more.
HOT_PATH = """
import os, sys
from pathlib import Path
from qatdp.host.calls.choose import compiled_calls
from qatdp.host.scanner import SysfsScanner
from qatdp.host.poller import AttributePoller

def refuse(*_, **__):
    raise AssertionError("a file call of Python's")

calls = compiled_calls()
host = Path(sys.argv[1])
scanner, tick = SysfsScanner(host / "sys", host / "dev", calls), AttributePoller(host / "sys", calls)
events = []
sys.addaudithook(lambda event, _: events.append(event))
for name in ("open", "stat", "lstat", "fstat", "read", "pread", "readlink", "listdir", "scandir", "access", "close"):
    setattr(os, name, refuse)
for _ in range(2):
    snapshot = scanner.scan()
    values = tick.values(snapshot)
assert (len(snapshot.vfs), len(values)) == (128, 66), (len(snapshot.vfs), len(values))
assert not {event for event in events if event.partition(".")[0] in ("open", "os")}, events
"""


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "compiled_calls", lambda: None)


def test_c_is_chosen_where_it_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert host_calls().name == ("c" if compiled_calls() else "python")


@pytest.mark.usefixtures("nothing_compiled")
def test_python_is_chosen_where_nothing_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert host_calls().name == "python"


def test_the_variable_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "python")
    assert host_calls().name == "python"


@pytest.mark.usefixtures("nothing_compiled")
def test_c_that_was_not_compiled_is_an_error_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "c")
    with pytest.raises(ConfigError, match="the C helper is not installed"):
        host_calls()


def test_another_word_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "rust")
    with pytest.raises(ConfigError, match="expected 'c' or 'python', got 'rust'"):
        host_calls()


def test_scan_and_tick_make_no_file_call_of_pythons(host: FakeHost) -> None:
    if compiled_calls() is None:
        pytest.skip("the C helper was not compiled")
    host.fill()
    subprocess.run([sys.executable, "-P", "-c", HOT_PATH, host.sysfs.parent], check=True)
