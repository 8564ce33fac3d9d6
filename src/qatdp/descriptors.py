"""Descriptors: how many files this process may have open, and what of that is left for whom.

gRPC ends the process (SIGABRT) where it gets no descriptor for a poller or for chance. So whoever keeps files open, or
is about to make gRPC open some, looks here first. Those who keep files need no common count: the kernel hands out the
lowest number that is free, so a file whose number is below `keep_below` leaves RESERVED numbers to all others.
"""

import contextlib
import errno
import os
import resource

from qatdp.errors import QatdpError

# Left to sockets, connections, probes and processes; what is kept open shares the rest.
RESERVED = 256
# With one resource the daemon has 16 files open and with each other one 2 more, in addition to those that it keeps;
# with 16 resources 59 at most while a kubelet starts again (counted in /proc/PID/fd, gRPC 1.85).
LEAST = 64
# What one more server of gRPC's, and the call that registers it, may open.
OF_A_SERVER = 16


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as a runtime may give 1024; return it. Raises QatdpError below LEAST."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise QatdpError(
            f"this process may have {soft} files open (RLIMIT_NOFILE), and needs {LEAST} at least",
            hint="raise it: LimitNOFILE= of the runtime's or the daemon's unit, or ulimit -n",
        )
    return soft


def limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (1 << 31) - 1 if soft == resource.RLIM_INFINITY else soft


def keep_below() -> int:
    """Return from which number on no file is to be kept open."""
    return max(limit() - RESERVED, 0)


def check_room() -> None:
    """Raise OSError EMFILE where another server of gRPC's may find no descriptor."""
    if limit() - len(os.listdir("/proc/self/fd")) < OF_A_SERVER:
        problem = f"{os.strerror(errno.EMFILE)}: of {limit()} (RLIMIT_NOFILE) fewer than {OF_A_SERVER} are left"
        raise OSError(errno.EMFILE, problem)
