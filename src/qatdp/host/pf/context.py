"""A site: what those need to know who configure PFs. Apart from what they do, so that it loads at once."""

import os.path
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import qatdp
from qatdp.host.pf.locks import LockOwner

# The folder that this package was imported from, as it is written in sys.path.
_INSTALLED = os.path.dirname(os.path.dirname(os.path.abspath(qatdp.__file__)))
_MAIN = (
    "import importlib, sys; folder, module = sys.argv.pop(1), sys.argv.pop(1); "
    "sys.path[:0] = [] if folder in sys.path else [folder]; importlib.import_module(module).main()"
)


def isolated(module: str) -> tuple[str, ...]:
    """Return the command that runs `main` of a module of ours in an interpreter of its own; arguments go behind it.

    No other code gets in: -I ignores the working directory, which can be anybody's, and all PYTHON* variables. The
    module comes from where this process has its own, which an isolated interpreter need not know by itself.
    """
    return (sys.executable, "-I", "-c", _MAIN, _INSTALLED, module)


CHILD = isolated("qatdp.host.pf.worker")


@dataclass(frozen=True, slots=True)
class PfTiming:
    """Seconds. `step_s`: what one step may take (a PF waits 10 s for its VFs' drivers: adf_sriov.c).

    `place_s`: how long the others wait for a PF whose turn it is. `pause_s`: before a PF that is busy is asked again.
    `least_s`: what a writer has to start, and what each answer has of a busy PF, which may be free by the last one.
    """

    step_s: float = 30.0
    place_s: float = 15.0
    pause_s: float = 1.0
    end_s: float = 0.5
    least_s: float = 15.0

    def answer_within_s(self, passed_s: float) -> float:
        """Return what an answer has, as so much of the step's time has passed."""
        return max(self.step_s - passed_s, min(self.least_s, self.step_s))


@dataclass(frozen=True, slots=True)
class PfContext:
    """Where things are, and who writes; `locks` is the folder in which that of the locks is made."""

    sysfs: Path
    dev: Path
    locks: Path
    who: LockOwner
    child: Sequence[str] = CHILD
    pace: PfTiming = field(default_factory=PfTiming)
