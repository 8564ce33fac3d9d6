"""Reports for tests of whoever shows them."""

from collections.abc import Callable
from dataclasses import dataclass

from qatdp.core.status.report import DeviceReport, EndpointReport, Holder, PfReport, Report, StatusEvent

CY = "qat.intel.com/cy"


def a_device(
    address: str, *, health: str | None = "Healthy", resource: str | None = CY, **more: object
) -> DeviceReport:
    nothing = dict.fromkeys(("pf", "services", "numa_node", "iommu_group", "driver", "node", "reason", "message"))
    return DeviceReport(**{**nothing, "address": address, "health": health, "resource": resource, **more})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Fixed:
    """What the pages are made of, where nothing changes."""

    report: Report

    def not_ready(self) -> tuple[str, ...]:
        return self.report.not_ready

    def freeze(self) -> Callable[[], Report]:
        return lambda: self.report


def a_report() -> Report:
    """Return one with something of everything."""
    held = (Holder("default", 'pod "x"', "main"), Holder("default", "pod", "main"))
    return Report(
        version="1.2.3",
        host_calls="python",
        sysfs="/sys",
        started_at_s=1000.0,
        scanned_at_s=1001.5,
        endpoints=(EndpointReport(CY, "live", registered=True),),
        devices=(
            a_device("0000:6b:00.1", holders=held, hold="Held"),
            a_device("0000:6b:00.2", health="Unhealthy", reason="NoDriver", message="has no driver", withdrawing=True),
            a_device("0000:6b:00.3", health=None, resource=None, reason="HostReserved", message="reserved"),
        ),
        pfs=(
            PfReport(
                "0000:6b:00.0",
                "4xxx",
                0,
                "up",
                condition="Fatal",
                healthy=False,
                reason="PfFatal",
                message="errors_fatal is 1",
                unavailable_signals={"heartbeat": "no debugfs"},
                counters={"ras_fatal": 2, "aer_correctable": 7, "heartbeat_failed": 0},
            ),
            PfReport(
                "0000:70:00.0",
                "c62x",
                None,
                None,
                phase="Cordoned",
                progress="Cordoned, to become dc: 1 VF held by default/pod",
            ),
        ),
        history=(StatusEvent(1001.0, "added", CY, ("0000:6b:00.1",), 1),),
    )
