"""Notes: what the log says of the node as a whole, once per change rather than per look."""

import logging

from qatdp.core.model.snapshot import Snapshot
from qatdp.core.status.advice import Advice, advice
from qatdp.descriptors import RESERVED, limit
from qatdp.host.poller import files_of

log = logging.getLogger(__name__)

FEW_FILES_HINT = (
    "attributes that exceed it are opened again at each look, which takes longer: raise RLIMIT_NOFILE (LimitNOFILE= of "
    "the runtime's or the daemon's unit)"
)


class Notes:
    """`keeps_files` tells whether attributes are kept open at all, which the calls in Python do not do."""

    def __init__(self, *, keeps_files: bool) -> None:
        self._keeps_files = keeps_files
        self._advice: Advice | None = None
        self._few_files = False

    def look(self, snapshot: Snapshot) -> None:
        """Take a look at the node."""
        found = advice(snapshot)
        if found and found != self._advice:
            log.warning("nothing to offer reason=%r hint=%r", found.reason, found.hint)
        self._advice = found
        wanted = RESERVED + sum(map(files_of, snapshot.pfs)) + len(snapshot.vfs)
        few = self._keeps_files and wanted > limit()
        if few and not self._few_files:
            log.warning("few open files limit=%d wanted=%d hint=%r", limit(), wanted, FEW_FILES_HINT)
        self._few_files = few
