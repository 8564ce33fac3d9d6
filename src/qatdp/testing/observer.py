"""RecordingObserver: keeps what endpoints tell whoever keeps the books."""

from collections.abc import Collection


class RecordingObserver:
    """An Observer (kubelet/observer.py); each list is what was told, in that order."""

    def __init__(self) -> None:
        self.moments = 0
        self.handed_over: list[str] = []
        self.lists: list[tuple[str, int]] = []  # resource, and the moment its list was begun
        self.cuts: list[str] = []
        self.allocations: list[tuple[str, tuple[str, ...]]] = []
        self.questions: list[tuple[str, tuple[str, ...]]] = []
        self.calls: list[tuple[str, int]] = []  # "began" or "ended", and the moment at which the call began

    def moment(self) -> int:
        self.moments += 1
        return self.moments

    def handed(self, resource: str) -> None:
        self.handed_over.append(resource)

    def listed(self, resource: str, began: int) -> None:
        self.lists.append((resource, began))

    def cut(self, resource: str) -> None:
        self.cuts.append(resource)

    def call_began(self) -> int:
        self.calls.append(("began", moment := self.moment()))
        return moment

    def call_ended(self, began: int) -> None:
        self.calls.append(("ended", began))

    def allocated(self, resource: str, ids: Collection[str], began: int) -> None:
        self.allocations.append((resource, tuple(ids)))

    def asked(self, resource: str, ids: Collection[str]) -> None:
        self.questions.append((resource, tuple(ids)))
