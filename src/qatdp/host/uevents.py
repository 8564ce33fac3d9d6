"""Kernel uevents: hints that a rescan is due. What they say is not used beyond that.

From the kernel's group, not udev's: udev's messages do not reach the network namespace of a pod (lib/kobject_uevent.c
broadcasts the kernel's to every network namespace of the initial user namespace).
"""

import errno
import logging
import os
import socket
from typing import TypeAlias

import pyudev

# Of the driver core, in addition to devices: a driver that is loaded tells so under `drivers` and `module`.
SUBSYSTEMS = frozenset({"pci", "vfio", "vfio-dev", "drivers", "module"})

# 64 VFs that come and go make 640 messages of about 300 bytes.
RECEIVE_BUFFER_BYTES = 4 << 20
PORTION = 256

log = logging.getLogger(__name__)

Monitor: TypeAlias = pyudev.Monitor


def listen() -> Monitor:
    """Return a monitor whose fileno() becomes readable with the next event; raises OSError where there is none."""
    try:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
    except ImportError as error:  # pyudev looks for the library when it is first used
        raise OSError(f"no libudev: {error}") from error
    try:
        monitor.set_receive_buffer_size(RECEIVE_BUFFER_BYTES)
    except OSError as error:  # needs CAP_NET_ADMIN beyond the system's limit
        log.info("uevent buffer stays at its default reason=%r", error)
    monitor.start()
    return monitor


def drain(monitor: Monitor) -> bool:
    """Take what has come, a bounded portion; tell whether any of it concerns PCI functions or VFIO.

    A storm overruns the buffer: then something has certainly happened. Raises OSError where the monitor is of no use
    any more.
    """
    seen = False
    for _ in range(PORTION):
        try:
            device = monitor.poll(timeout=0)
        except OSError:
            _take_error(monitor)
            return True
        if device is None:
            break
        seen = seen or device.subsystem in SUBSYSTEMS
    return seen


def _take_error(monitor: Monitor) -> None:
    """Take the error off the socket, which pyudev leaves on it: it would be readable for ever."""
    with socket.socket(fileno=os.dup(monitor.fileno())) as again:
        number = again.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number not in (0, errno.ENOBUFS):
        raise OSError(number, os.strerror(number))
