"""What the endpoints tell whoever counts. Called on the event loop, and never waits."""

from typing import Protocol


class MetricsHook(Protocol):
    def allocate_answered(self, resource: str, duration_s: float, *, granted: bool) -> None:
        """Take note of an Allocate, and of how long its answer took."""

    def register_answered(self, resource: str, *, taken: bool) -> None:
        """Take note of a Register, and of whether the kubelet took it."""


class NullMetrics:
    """Counts nothing."""

    def allocate_answered(self, resource: str, duration_s: float, *, granted: bool) -> None:
        pass

    def register_answered(self, resource: str, *, taken: bool) -> None:
        pass
