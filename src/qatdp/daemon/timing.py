"""Pace: how long the release protocol waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReleaseTiming:
    """Seconds. `grace_s`: how long a call may be on its way from the kubelet's choice to us.

    `quiet_s`: for how long no call of the kubelet must have been in flight before it is asked for a List. `first_s` and
    `longest_s`: between rounds, and between Lists; `open_s`: between looks at who has VFs open meanwhile. `write_s`:
    what the kubelet may take to write its checkpoint (measured on 1.37: 1.4 ms at worst).
    """

    grace_s: float = 1.0
    quiet_s: float = 1.0
    first_s: float = 0.25
    longest_s: float = 30.0
    open_s: float = 1.0
    write_s: float = 3.0
    look_s: float = 0.01
