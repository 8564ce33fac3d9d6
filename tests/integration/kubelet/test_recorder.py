"""The recorder for the whole node (tests/integration/node) sees what it is there for."""

from pathlib import Path

import pytest
from google.protobuf.message import Message
from ground.gates import Call, Passage, Way
from ground.recorder import OnNode, Passed
from ground.stage import CY, DC, HEALTHY

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet.checkpoint import FILE, dump
from qatdp.simulator.kubelet.ledger import Given

ONE, TWO = "0000:6b:00.1", "0000:6b:00.2"


class Watching:
    """A recorder's eyes; a pod has ONE as CY, if the kubelet has written it down."""

    def __init__(self, plugins: Path) -> None:
        self._plugins, self._passed = plugins, Passed()
        self.eyes = OnNode(self._passed, plugins)
        self.write_down()

    def write_down(self, *ids: str) -> None:
        given = {0: ids}, api.ContainerAllocateResponse()
        (self._plugins / FILE).write_bytes(dump({"uid": {"main": {CY: Given(*given)}}} if ids else {}, {}))

    def lists(self, resource: str, *ids: str) -> None:
        devices = [api.Device(ID=one, health=HEALTHY) for one in ids]
        self._passes(Call.LIST_AND_WATCH, Way.ANSWER, resource, api.ListAndWatchResponse(devices=devices))

    def allocates(self, resource: str, *ids: str) -> None:
        of_container = api.ContainerAllocateRequest(devices_ids=ids)
        self._passes(Call.ALLOCATE, Way.REQUEST, resource, api.AllocateRequest(container_requests=[of_container]))
        self._passes(Call.ALLOCATE, Way.ANSWER, resource, api.AllocateResponse())

    def _passes(self, call: Call, way: Way, resource: str, message: Message) -> None:
        passage = Passage(call, way, resource, message, 0.0)
        self.eyes.watch(passage)
        self._passed.note(passage)


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(tmp_path)


def test_what_is_as_it_must_be_is_no_violation(watching: Watching) -> None:
    watching.lists(CY, ONE, TWO)
    watching.allocates(CY, ONE)
    watching.write_down(ONE)
    watching.lists(CY, ONE)
    watching.lists(DC, TWO)
    watching.write_down()
    watching.lists(CY)
    watching.lists(DC, ONE, TWO)
    assert watching.eyes.violations == []


def test_a_vf_in_two_resources_is_one(watching: Watching) -> None:
    watching.lists(CY, ONE, TWO)
    watching.lists(DC, TWO)
    assert watching.eyes.violations == [f"{TWO} is offered under {CY} and under {DC}"]


def test_a_vf_that_is_written_down_and_missing_is_one(watching: Watching) -> None:
    watching.write_down(ONE)
    watching.lists(CY, TWO)
    watching.lists(DC, ONE)
    assert watching.eyes.violations == [
        f"{ONE} is held, and is missing from a list of {CY}",
        f"{ONE} is held under {CY}, and is in a list of {DC}",
    ]


def test_a_vf_that_was_allocated_and_is_not_written_down_yet_is_held_as_well(watching: Watching) -> None:
    watching.lists(CY, ONE)
    watching.allocates(CY, ONE)
    watching.lists(CY)
    assert watching.eyes.violations == [f"{ONE} is held, and is missing from a list of {CY}"]
