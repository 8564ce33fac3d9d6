"""A site: what those need to know who configure PFs. Apart from what they do, so that it loads at once."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qatdp.host.locks import Who

CHILD = (sys.executable, "-m", "qatdp.host.child")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `step_s`: what one step may take (a PF waits 10 s for its VFs' drivers: adf_sriov.c).

    `place_s`: how long the others wait for a PF whose turn it is. `pause_s`: before a PF that is busy is asked again.
    """

    step_s: float = 30.0
    place_s: float = 15.0
    pause_s: float = 1.0
    end_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Site:
    """Where things are, and who writes; `locks` is the folder in which that of the locks is made."""

    sysfs: Path
    dev: Path
    locks: Path
    who: Who
    child: Sequence[str] = CHILD
    pace: Pace = field(default_factory=Pace)
