"""A report with something of everything, and a folder for a socket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qatdp.core.report import Report
from qatdp.testing.report import a_report


@pytest.fixture
def report() -> Report:
    return a_report()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket holds 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as name:
        yield Path(name)
