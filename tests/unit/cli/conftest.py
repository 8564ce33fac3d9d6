"""A simulated node for the commands, and the command itself in this process."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from qatdp.cli import main
from qatdp.simulator.host.node import FakeHost, fake_host

Qatdp: TypeAlias = Callable[..., Result]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with fake_host() as host:
        yield host


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket holds 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as name:
        yield Path(name)


@pytest.fixture
def qatdp() -> Qatdp:
    """Run the command with these words; keyword arguments are its environment."""

    def run(*words: object, **environment: object) -> Result:
        env = {name: str(value) for name, value in environment.items()}
        return CliRunner().invoke(main, [str(word) for word in words], env=env, prog_name="qatdp")

    return run
