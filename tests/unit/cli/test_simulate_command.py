"""`qatdp simulate` tells what is so, whatever configuration and node it is given."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from qatdp.errors import QatdpError
from qatdp.simulator.demo import Setup, Story

DOCUMENTED = Path(__file__).parents[3] / "docs/configuration.md"
CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
SMALL = Setup(pfs=4, vfs=4)

Events = list[dict[str, Any]]
Qatdp = Callable[..., Result]


async def told(folder: Path, setup: Setup = SMALL, configuration: str = "") -> Events:
    """Return the events of a story, the node's the first."""
    if configuration:
        setup = replace(setup, config=folder / "config.yaml")
        (folder / "config.yaml").write_text(configuration)
    for name in ("host", "kubelet"):
        (folder / name).mkdir()
    return [dict(event) async for event in Story(setup, folder).tell()]


def counts(events: Events) -> list[dict[str, tuple[int, int]]]:
    """Return each time the capacity and what is allocatable, by resource: at first, down, up, and at the end."""
    return [
        {name: (of["capacity"], of["allocatable"]) for name, of in event["resources"].items()}
        for event in events
        if event["event"] == "resources"
    ]


def of_kind(events: Events, kind: str) -> Events:
    return [event for event in events if event["event"] == kind]


def documented() -> list[str]:
    """Return each YAML block of the documentation that is a whole configuration."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", DOCUMENTED.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    return [block for block in blocks if "version:" in block]


async def test_a_pf_goes_down_and_all_is_as_before_in_the_end(folder: Path) -> None:
    events = await told(folder)
    assert [event["event"] for event in events][-1] == "end"
    assert [event["name"] for event in of_kind(events, "pod")] == ["two-cy", "two-dc", "one-of-each"]
    assert counts(events) == [
        {CY: (8, 8), DC: (8, 8)},
        {CY: (7, 4), DC: (8, 8)},  # three that pods have stay in the list
        {CY: (8, 5), DC: (8, 8)},
        {CY: (8, 8), DC: (8, 8)},
    ]


@pytest.mark.parametrize("configuration", documented())
async def test_each_configuration_that_is_documented_comes_to_its_end(folder: Path, configuration: str) -> None:
    events = await told(folder, configuration=configuration)
    assert [event["state"] for event in of_kind(events, "pf")] == ["down", "up"]
    first, *_, last = counts(events)
    assert first == last
    assert first
    assert events[-1] == {"event": "end"}


async def test_what_is_kept_for_the_host_is_not_waited_for(folder: Path) -> None:
    events = await told(folder, configuration="version: 1\nhostReserved: [{vfs: 3}]\n")
    assert [each[CY] for each in counts(events)] == [(2, 2), (2, 1), (2, 0), (2, 2)]
    # The pod was given both in one answer, which is now stale as a whole.
    assert [event["devices"] for event in of_kind(events, "stale")] == [["0000:6b:00.4", "0000:e8:00.4"]]


async def test_within_a_limit_others_take_the_places_of_a_pf_that_goes_down(folder: Path) -> None:
    events = await told(folder, configuration="version: 1\ndefaultResources: true\nresources: [{name: cy, limit: 4}]\n")
    assert [each["qat.intel.com/cy"] for each in counts(events)] == [(4, 4), (6, 4), (4, 2), (4, 4)]
    assert len(of_kind(events, "stale")) == 1


async def test_the_pf_that_goes_down_is_one_that_offers_something(folder: Path) -> None:
    events = await told(folder, configuration="version: 1\nresources: [{name: dc, services: [dc]}]\n")
    assert {event["address"] for event in of_kind(events, "pf")} == {"0000:70:00.0"}
    assert [each[DC] for each in counts(events)] == [(8, 8), (6, 4), (8, 6), (8, 8)]


@pytest.mark.parametrize("more", ["vfioDriver: qat_vfio_pci", "resources: [{name: cy, deviceNode: cdev}]"])
async def test_the_node_has_what_a_configuration_may_ask_for(folder: Path, more: str) -> None:
    assert counts(await told(folder, configuration=f"version: 1\n{more}\n"))[0]


async def test_where_nothing_is_offered_the_kubelet_advertises_nothing(folder: Path) -> None:
    events = await told(folder, configuration="version: 1\ndefaultResources: false\n")
    assert [event["event"] for event in events] == ["node", "resources", "end"]
    assert counts(events) == [{}]


async def test_what_does_not_come_to_be_is_an_error_with_a_hint(folder: Path) -> None:
    with pytest.raises(QatdpError, match="without success until the kubelet offers what this node has") as raised:
        await told(folder, Setup(pfs=1, vfs=0, patience_s=0))
    assert raised.value.hint


def test_that_nothing_is_advertised_is_said(qatdp: Qatdp, folder: Path) -> None:
    (folder / "config.yaml").write_text("version: 1\ndefaultResources: false\n")
    result = qatdp("simulate", "--once", "--pfs", 1, "--vfs", 1, "--config", folder / "config.yaml")
    assert result.exit_code == 0
    assert "the kubelet advertises            capacity  allocatable\n  nothing\n" in result.stdout


@pytest.mark.parametrize(
    ("setup", "names"),
    [
        (Setup(pfs=1, vfs=1), ["one-cy", "too-much"]),
        (Setup(pfs=2, vfs=1), ["one-cy", "one-dc", "too-much"]),
        (Setup(pfs=2, vfs=2), ["two-cy", "two-dc", "too-much"]),
        (Setup(pfs=1, vfs=3), ["two-cy", "too-much"]),
        (Setup(pfs=2, vfs=3), ["two-cy", "two-dc", "one-of-each", "too-much"]),
    ],
)
async def test_pods_ask_for_what_there_is_and_one_for_more(folder: Path, setup: Setup, names: list[str]) -> None:
    events = await told(folder, setup)
    assert [event["name"] for event in events if "name" in event and event["event"] != "stale"] == names
    assert [event["name"] for event in of_kind(events, "refused")] == ["too-much"]
    assert of_kind(events, "refused")[0]["resources"] == {CY: counts(events)[0][CY][0] + 1}


@pytest.mark.parametrize(
    ("pfs", "vfs", "said"), [(1, 1, "1 PF and 1 VF"), (1, 2, "1 PF and 2 VFs"), (2, 1, "2 PFs and 2 VFs")]
)
def test_one_is_not_many(qatdp: Qatdp, pfs: int, vfs: int, said: str) -> None:
    result = qatdp("simulate", "--once", "--pfs", pfs, "--vfs", vfs)
    assert result.stdout.startswith(f"A node with {said}, made in /")


@pytest.mark.parametrize(("text", "error"), [(None, "cannot be read"), ("version: 3\n", "version: expected 1, got 3")])
def test_a_configuration_that_is_wrong_ends_it_before_anything_is_told(
    qatdp: Qatdp, folder: Path, text: str | None, error: str
) -> None:
    if text is not None:
        (folder / "config.yaml").write_text(text)
    result = qatdp("simulate", "--once", "--config", folder / "config.yaml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert error in result.stderr


def test_what_it_says_to_look_with_knows_the_configuration(qatdp: Qatdp, folder: Path) -> None:
    (folder / "config.yaml").write_text("version: 1\n")
    result = qatdp("simulate", "--once", "--pfs", 1, "--vfs", 1, "--config", folder / "config.yaml")
    assert f" --config {folder}/config.yaml\n" in result.stdout
