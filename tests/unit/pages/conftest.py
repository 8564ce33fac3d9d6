"""A report with something of everything, and a folder for a socket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.report import a_report

from qatdp.core.status.report import Report


@pytest.fixture
def report() -> Report:
    return a_report()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket holds 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as name:
        yield Path(name)
