"""Fixtures of the real node. It exists only in the guest that tests/node/run boots; elsewhere these tests skip."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from ground import vfio
from ground.node import Node

IN_GUEST = "QATDP_GUEST" in os.environ


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "unguarded: the daemon runs without the guard on what may be in use")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if not IN_GUEST and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs the real node: run tests/node/run"))


@pytest.fixture(scope="session")
def whole_node() -> Iterator[Node]:
    node = Node()
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def node(whole_node: Node) -> Iterator[Node]:
    """The node without pods and without VFIO's modules, as each module finds it."""
    vfio.unload()
    yield whole_node
    whole_node.pods.delete_all()
