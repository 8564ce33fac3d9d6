"""What the VFIO probe in a container said (tests/integration/guest/vfio_probe.c): one JSON object a line."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ground.pods import Pod
from ground.waiting import until


@dataclass(frozen=True, slots=True)
class Report:
    events: tuple[dict[str, Any], ...]

    def of(self, kind: str) -> tuple[dict[str, Any], ...]:
        """Return the events of a kind, of devices those of the first round."""
        return tuple(event for event in self.events if event["event"] == kind and not event.get("round"))

    @property
    def start(self) -> dict[str, Any]:
        return self.of("start")[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(event["address"] for event in self.of("device"))

    @property
    def rounds(self) -> int:
        """How many times each device has been proved again."""
        return max((event.get("round", 0) for event in self.events), default=0)

    @property
    def failures(self) -> tuple[dict[str, Any], ...]:
        return tuple(event for event in self.events if "failed" in event)


def report(pod: Pod, container: str = "main") -> Report:
    """Return all that the container's probe has said until now, among what others may have."""
    return Report(tuple(json.loads(line) for line in pod.log(container).splitlines() if line.startswith("{")))


def first_report(pod: Pod, container: str = "main") -> Report:
    """Return the report once it has come to its last line of the first round, about the VF of another."""
    return _when(pod, container, lambda said: bool(said.of("foreign")))


def wait_for_another_round(pod: Pod, container: str = "main") -> Report:
    """Return the report once the probe has proved each device again, begun after this call."""
    wanted = report(pod, container).rounds + 2
    return _when(pod, container, lambda said: said.rounds >= wanted)


def names(pod: Pod, container: str = "main") -> frozenset[str]:
    """Return the addresses that a container which opens nothing was given."""
    said = _when(pod, container, lambda said: bool(said.events) and len(said.of("name")) == said.start["vfs"])
    return frozenset(event["address"] for event in said.of("name"))


def _when(pod: Pod, container: str, enough: Callable[[Report], bool]) -> Report:
    """Wait for a report. Raises TimeoutError with what the kubelet tells of the pod, which says what keeps it."""

    def look() -> Report | None:
        said = report(pod, container)
        return said if enough(said) else None

    try:
        return until(f"the probe in {pod.name} has said enough", look)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{json.dumps(pod.status, indent=1)}") from None
