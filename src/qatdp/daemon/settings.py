"""Settings of the daemon: where things are, and its periods."""

from dataclasses import dataclass, field
from pathlib import Path

from qatdp.core.binding import BindMode
from qatdp.daemon.health import HealthPace
from qatdp.daemon.release import Pace
from qatdp.kubelet import watch
from qatdp.kubelet.endpoint import Timing
from qatdp.status.pages import Address


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are, and the daemon's periods in seconds.

    `listen` and `socket` are where its status is shown; None for nowhere. `holders_s`: how often the kubelet is asked
    which pod has what, which is for show alone, so that it is not asked where nothing is shown.
    """

    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    plugins: Path = Path("/var/lib/kubelet/device-plugins")
    pod_resources: Path = Path("/var/lib/kubelet/pod-resources")
    config: Path | None = None
    bind: BindMode = BindMode.NEVER
    listen: Address | None = None
    socket: Path | None = None
    listen_to_uevents: bool = True
    scan_period_s: float = 30.0
    tick_s: float = 1.0
    heartbeat: bool = True
    health: HealthPace = field(default_factory=HealthPace)
    holders_s: float = 10.0
    watch_s: float = watch.PERIOD_S
    timing: Timing = field(default_factory=Timing)
    pace: Pace = field(default_factory=Pace)
