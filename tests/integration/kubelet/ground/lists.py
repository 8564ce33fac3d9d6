"""What a kubelet was told last of each resource, for as long as it listens."""

from collections import Counter

from ground.gates import Call, Passage, Way
from qatdp.api import deviceplugin_v1beta1_pb2 as api


class Lists(dict[str, dict[str, str]]):
    """Health by ID, by resource; none of a resource of which no stream is open.

    A stream may end after the next one of its resource has begun: up to 1.36 it is that which ends it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open = Counter[str]()

    def note(self, passage: Passage) -> None:
        of, message = passage.resource, passage.message
        if passage.way is Way.END:
            self._open[of] -= 1
            if not self._open[of]:
                self.pop(of, None)
        elif isinstance(message, api.ListAndWatchResponse):
            self[of] = {device.ID: device.health for device in message.devices}
        elif passage.call is Call.LIST_AND_WATCH:
            self._open[of] += 1
