"""Fixtures of the guest that tests/integration/kernel/run boots; elsewhere these tests skip."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# What tests/integration/node has of PFs, VFIO and provisioning is not the kubelet's; `oci` in tools is what its
# containerd wants.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "node"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
from ground import pfs, vfio

# By halves, as on the node of tests/integration/node.
SERVICES = ("sym;asym", "dc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if "MACHINE" not in os.environ and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs the guest: run tests/integration/kernel/run"))


@pytest.fixture(scope="module")
def bare() -> Iterator[list[str]]:
    """PFs as their driver leaves them, without VFs, with VFIO's modules loaded."""
    vfio.load()
    yield _bring_to_default()
    _bring_to_default()


@pytest.fixture(scope="module")
def services(bare: list[str]) -> dict[str, str]:
    """PFs with services and VFs."""
    services = {pf: SERVICES[index % 2] for index, pf in enumerate(bare)}
    pfs.configure(services)
    return services


@pytest.fixture
def pf(services: dict[str, str]) -> Iterator[str]:
    """A PF, which afterwards has its services and VFs again."""
    address = min(services)
    yield address
    pfs.configure({address: services[address]})


def _bring_to_default() -> list[str]:
    addresses = list(pfs.pf_addresses())
    for address in addresses:
        pfs.bring_to_default(address)
    return addresses
