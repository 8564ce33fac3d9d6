"""Prometheus' metrics, under the conventions of its own (base units, _total, one meaning a name).

What has a state is read off the report at each scrape; what happens is counted as it happens.
"""

from collections import Counter as Count
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from qatdp.core.pools.pools import Health
from qatdp.core.status.report import DeviceReport, PfReport, Report

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# An Allocate is some 50 us of work; above 0.1 s something is wrong.
ALLOCATE_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0)
LOOK_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
ERRORS = ("correctable", "nonfatal", "fatal")
LIST_CAUSE = "release"  # the only one there is


class ListTiming(StrEnum):
    """How near to a call of the kubelet a PodResources List was."""

    AFTER_CALL = "after_call"  # it began while a call was in flight, or too soon after one: never, by construction
    CALL_CAME = "call_came"  # a call came before it was answered, which nobody can know before


class Metrics:
    """Counts what happens; `text` adds what is so. One for each daemon: nothing in here is the process's."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a series more for each counter, that says when this process began
        self._registry = registry = CollectorRegistry()
        self._state = _State()
        registry.register(self._state)
        ProcessCollector(registry=registry)
        self._allocate = Histogram(
            "qatdp_allocate_duration_seconds",
            "Time to answer an Allocate.",
            ["resource"],
            buckets=ALLOCATE_BUCKETS_S,
            registry=registry,
        )
        self._answers = Counter(
            "qatdp_allocations", "Allocate calls answered.", ["resource", "outcome"], registry=registry
        )
        self._registrations = Counter(
            "qatdp_registrations", "Register calls made.", ["resource", "outcome"], registry=registry
        )
        self._lists = Counter(
            "qatdp_pod_resources_lists",
            "PodResources Lists that the kubelet was asked for.",
            ["cause"],
            registry=registry,
        )
        self._near_calls = Counter(
            "qatdp_pod_resources_lists_near_calls",
            "Of those, how many began too soon after a call of the kubelet, or saw one come.",
            ["timing"],
            registry=registry,
        )
        self._lists.labels(LIST_CAUSE)
        for timing in ListTiming:
            self._near_calls.labels(timing)
        self._scan = Histogram(
            "qatdp_scan_duration_seconds",
            "Time to scan the node, and to bind.",
            buckets=LOOK_BUCKETS_S,
            registry=registry,
        )
        self._tick = Histogram(
            "qatdp_tick_duration_seconds",
            "Time to read all watched attributes once.",
            buckets=LOOK_BUCKETS_S,
            registry=registry,
        )

    def text(self, report: Report) -> bytes:
        self._state.report = report
        return generate_latest(self._registry)

    # What happens

    def allocate_answered(self, resource: str, duration_s: float, *, granted: bool) -> None:
        self._allocate.labels(resource).observe(duration_s)
        self._answers.labels(resource, "granted" if granted else "refused").inc()

    def register_answered(self, resource: str, *, taken: bool) -> None:
        self._registrations.labels(resource, "taken" if taken else "failed").inc()

    def listed(self, *timings: ListTiming) -> None:
        """Count a PodResources List, and what made it a risk for a pod that was being admitted."""
        self._lists.labels(LIST_CAUSE).inc()
        for timing in timings:
            self._near_calls.labels(timing).inc()

    def scanned(self, duration_s: float) -> None:
        self._scan.observe(duration_s)

    def ticked(self, duration_s: float) -> None:
        self._tick.observe(duration_s)


class _State(Collector):
    """Turns the report it was given last into metrics."""

    report: Report | None = None

    def collect(self) -> Iterator[Metric]:
        report = self.report
        if report is None:  # the registry asks once for names
            return
        what = (report.version, report.host_calls)
        yield _gauge("qatdp_build_info", "What runs.", ("version", "host_calls"), [what])
        if report.scanned_at_s is not None:
            yield GaugeMetricFamily(
                "qatdp_last_scan_timestamp_seconds", "When the last scan came back, as Unix time.", report.scanned_at_s
            )
        yield _holders_times(report)
        yield from _endpoints(report)
        yield from _devices(report.devices)
        yield from _pfs(report.pfs)


def _gauge(name: str, text: str, labels: Sequence[str], ones: Iterable[Sequence[str]]) -> Metric:
    """Return a gauge that is 1 for each of these values of its labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values in ones:
        family.add_metric(values, 1)
    return family


def _holders_times(report: Report) -> Metric:
    family = GaugeMetricFamily(
        "qatdp_holders_timestamp_seconds", "Of when it is known who holds what, as Unix time.", labels=["source"]
    )
    for source, at_s in (("checkpoint", report.checkpoint_written_at_s), ("list", report.pods_listed_at_s)):
        if at_s is not None:
            family.add_metric([source], at_s)
    return family


def _endpoints(report: Report) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "qatdp_endpoint_registered", "Whether the kubelet has the resource's stream open.", labels=["resource"]
    )
    for one in report.endpoints:
        family.add_metric([one.resource], one.registered)
    yield family


def _devices(devices: Iterable[DeviceReport]) -> Iterator[Metric]:
    counts, withdrawing = Count[tuple[str, str]](), Count[str]()
    excluded, held = Count[str](), []
    for one in devices:
        if one.resource is None or one.health is None:
            excluded[one.reason or ""] += 1
            continue
        counts[one.resource, one.health] += 1
        withdrawing[one.resource] += one.withdrawing
        held += [
            (one.resource, one.address, by.namespace or "", by.pod or "", by.container, by.uid or "")
            for by in one.holders
        ]
    family = GaugeMetricFamily("qatdp_devices", "VFs in the resource's list.", labels=["resource", "health"])
    going = GaugeMetricFamily("qatdp_devices_withdrawing", "VFs on their way out of the list.", labels=["resource"])
    for resource in sorted(withdrawing):
        for health in Health:
            family.add_metric([resource, health], counts[resource, health])
        going.add_metric([resource], withdrawing[resource])
    yield family
    yield going
    family = GaugeMetricFamily("qatdp_devices_excluded", "VFs that are in no list.", labels=["reason"])
    for reason in sorted(excluded):
        family.add_metric([reason], excluded[reason])
    yield family
    labels = ("resource", "device", "namespace", "pod", "container", "uid")
    yield _gauge("qatdp_device_holder", "1 for each container that the kubelet names for a VF.", labels, held)


def _pfs(pfs: Iterable[PfReport]) -> Iterator[Metric]:
    pfs = tuple(pfs)
    up = GaugeMetricFamily("qatdp_pf_up", "Whether qat/state is up.", labels=["pf"])
    healthy = GaugeMetricFamily("qatdp_pf_healthy", "Whether the PF's VFs may be handed out.", labels=["pf"])
    for pf in pfs:
        if pf.state is not None:
            up.add_metric([pf.address], pf.state == "up")
        healthy.add_metric([pf.address], pf.healthy)
    info = [(pf.address, pf.family, "" if pf.numa_node is None else str(pf.numa_node)) for pf in pfs]
    yield _gauge("qatdp_pf_info", "What a PF is.", ("pf", "family", "numa_node"), info)
    yield up
    yield healthy
    conditions = [(pf.address, pf.condition) for pf in pfs if pf.condition]
    yield _gauge("qatdp_pf_condition", "1 for the condition a PF is in.", ("pf", "condition"), conditions)
    phases = [(pf.address, pf.phase) for pf in pfs if pf.phase]
    text = "1 for how far a PF is from what it should be (run --provision)."
    yield _gauge("qatdp_pf_phase", text, ("pf", "phase"), phases)
    unavailable = [(pf.address, signal) for pf in pfs for signal in sorted(pf.unavailable_signals or ())]
    yield _gauge(
        "qatdp_pf_signal_unavailable", "1 for each health signal that cannot be read.", ("pf", "signal"), unavailable
    )
    for source, text in (("ras", "Errors the QAT driver counted since it started the PF."), ("aer", "PCIe errors.")):
        errors = CounterMetricFamily(f"qatdp_pf_{source}_errors", text, labels=["pf", "severity"])
        for pf in pfs:
            for severity in ERRORS:
                count = (pf.counters or {}).get(f"{source}_{severity}")
                if count is not None:
                    errors.add_metric([pf.address, severity], count)
        yield errors
    failed = CounterMetricFamily(
        "qatdp_pf_heartbeat_failures", "Heartbeats that the firmware did not answer (queries_failed).", labels=["pf"]
    )
    for pf in pfs:
        count = (pf.counters or {}).get("heartbeat_failed")
        if count is not None:
            failed.add_metric([pf.address], count)
    yield failed
