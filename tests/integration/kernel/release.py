"""The release of Linux that runs here, and what of the QAT driver it has: guest/driver says which file has it."""

import os

RELEASE = tuple(int(number) for number in os.uname().release.split(".")[:2])

ONE_SERVICE_ALONE = RELEASE >= (6, 5)  # in addition to dc
HEARTBEAT = RELEASE >= (6, 6)
ERROR_COUNTERS = RELEASE >= (6, 7)
AUTO_RESET = RELEASE >= (6, 9)
VFS_GO_BY_NUMVFS = RELEASE >= (6, 12)
