"""Fixtures of the real node. It exists only in the guest that node/run boots; elsewhere these tests skip."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
from ground import vfio
from ground.configmap import ConfigMap
from ground.daemon import Daemon
from ground.kubelet import ListTaken
from ground.node import CY, DC, Node
from ground.view import View

IN_GUEST = "QATDP_GUEST" in os.environ


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "unguarded: the daemon runs without the guard on what may be in use")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if not IN_GUEST and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs the real node: run tests/integration/node/run"))


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


@pytest.fixture(scope="module")
def config() -> ConfigMap | None:
    """By what the daemon goes: its defaults, for modules that have no configuration of their own."""
    return None


@pytest.fixture(scope="module")
def daemon(node: Node, config: ConfigMap | None, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The daemon, with all VFs in the kubelet's lists; for modules that want nothing else of it."""
    vfio.load()
    daemon = Daemon(node.kubelet, node.logs, request.module.__name__, config)
    daemon.start()
    daemon.wait_for_lists({CY: ListTaken(32, 32), DC: ListTaken(32, 32)})
    yield daemon
    node.pods.delete_all()
    daemon.close()
    assert "Traceback" not in daemon.log()


@pytest.fixture(scope="module")
def view(node: Node, daemon: Daemon) -> Iterator[View]:
    """What the kubelet would hand out."""
    view = View(node.record)
    yield view
    view.close()
