"""Settings of the daemon: where things are, and its periods."""

from dataclasses import dataclass, field
from pathlib import Path

from qatdp.core.pools.binding import BindMode
from qatdp.daemon.health_loop import HealthTiming
from qatdp.daemon.open_vf_poller import OpenTiming
from qatdp.daemon.timing import ReleaseTiming
from qatdp.host.calls.watchdog import WatchdogTiming
from qatdp.host.pf.context import PfContext
from qatdp.kubelet import watch
from qatdp.kubelet.endpoint import Timing
from qatdp.kubelet.server import CloseTiming
from qatdp.pages.pages import Address
from qatdp.pages.rendering import PERIOD_S


@dataclass(frozen=True, slots=True)
class Managing:
    """`node`: this node's name, None where it is not known. Seconds: between looks at what is to be done, between tries
    to become the one who writes, and for how long a PF rests that has just failed, twice as long each time."""

    site: PfContext
    node: str | None = None
    look_s: float = 0.5
    lock_s: float = 5.0
    first_rest_s: float = 10.0
    longest_rest_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are, and the daemon's periods in seconds.

    `provision`: None where no PF is configured. `listen` and `socket` are where its status is shown; None for nowhere.
    `listen_status`: whether the address has /status as well, which names pods. `page_s`: how old a page may be.
    `pod_logs`: the folder with a folder for each pod. `lists`: whether PodResources List may be called.
    `stand_in_s`: how long to try to come up before the names that the kubelet knows are registered provisionally.
    """

    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    plugins: Path = Path("/var/lib/kubelet/device-plugins")
    pod_resources: Path = Path("/var/lib/kubelet/pod-resources")
    pod_logs: Path = Path("/var/log/pods")
    lists: bool = True
    config: Path | None = None
    bind: BindMode = BindMode.NEVER
    provision: Managing | None = None
    listen: Address | None = None
    listen_status: bool = False
    socket: Path | None = None
    listen_to_uevents: bool = True
    scan_period_s: float = 30.0
    tick_s: float = 1.0
    heartbeat: bool = True
    health: HealthTiming = field(default_factory=HealthTiming)
    patience: WatchdogTiming = field(default_factory=WatchdogTiming)
    page_s: float = PERIOD_S
    stand_in_s: float = 10.0
    watch_s: float = watch.PERIOD_S
    timing: Timing = field(default_factory=Timing)
    pace: ReleaseTiming = field(default_factory=ReleaseTiming)
    opened: OpenTiming = field(default_factory=OpenTiming)
    closing: CloseTiming = field(default_factory=CloseTiming)
