"""Metrics, read by Prometheus' own parser: they say what the report says, under names by its conventions."""

import re
from collections.abc import Mapping
from dataclasses import replace

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from support.report import CY, a_device

from qatdp.core.status.report import Holder, Report
from qatdp.pages.metrics import ListTiming, Metrics

BASE_UNITS = ("_seconds", "_bytes")


def parsed(report: Report, metrics: Metrics | None = None) -> Mapping[str, Metric]:
    text = (metrics or Metrics()).text(report).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(family: Metric) -> Mapping[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_devices_are_counted_by_resource_and_health(report: Report) -> None:
    found = parsed(report)
    assert {tuple(sorted(sample.labels.items())): sample.value for sample in found["qatdp_devices"].samples} == {
        (("health", "Healthy"), ("resource", CY)): 1,
        (("health", "Unhealthy"), ("resource", CY)): 1,
    }
    assert values(found["qatdp_devices_withdrawing"]) == {(CY,): 1}
    assert values(found["qatdp_devices_excluded"]) == {("HostReserved",): 1}


def test_who_holds_a_vf_is_told_whatever_its_name(report: Report) -> None:
    found = {sample.labels["pod"]: sample for sample in parsed(report)["qatdp_device_holder"].samples}
    assert found.keys() == {"pod", 'pod "x"'}
    assert found["pod"].labels == {
        "resource": CY,
        "device": "0000:6b:00.1",
        "namespace": "default",
        "pod": "pod",
        "container": "main",
        "uid": "",
    }


def test_holder_whose_name_is_unknown_has_the_pods_uid(report: Report) -> None:
    device = a_device("0000:6b:00.1", holders=(Holder(None, None, "main", "0a1b"),))
    (sample,) = parsed(replace(report, devices=(device,)))["qatdp_device_holder"].samples
    assert (sample.labels["namespace"], sample.labels["pod"], sample.labels["uid"]) == ("", "", "0a1b")


def test_holders_have_their_age_by_source(report: Report) -> None:
    assert parsed(report)["qatdp_holders_timestamp_seconds"].samples == []
    found = parsed(replace(report, checkpoint_written_at_s=1005.0, pods_listed_at_s=1002.0))
    assert values(found["qatdp_holders_timestamp_seconds"]) == {("checkpoint",): 1005.0, ("list",): 1002.0}


def test_lists_are_counted_from_zero_by_cause_and_timing(report: Report) -> None:
    metrics = Metrics()
    near = "qatdp_pod_resources_lists_near_calls"
    found = parsed(report, metrics)
    assert values(found["qatdp_pod_resources_lists"]) == {("release",): 0}
    assert values(found[near]) == {("after_call",): 0, ("call_came",): 0}
    metrics.listed()
    metrics.listed(ListTiming.CALL_CAME)
    found = parsed(report, metrics)
    assert values(found["qatdp_pod_resources_lists"]) == {("release",): 2}
    assert values(found[near]) == {("after_call",): 0, ("call_came",): 1}


def test_pfs_have_their_state_condition_and_counters(report: Report) -> None:
    found = parsed(report)
    assert values(found["qatdp_pf_up"]) == {("0000:6b:00.0",): 1}
    assert values(found["qatdp_pf_healthy"]) == {("0000:6b:00.0",): 0, ("0000:70:00.0",): 1}
    (condition,) = found["qatdp_pf_condition"].samples
    assert condition.labels == {"pf": "0000:6b:00.0", "condition": "Fatal"}
    assert values(found["qatdp_pf_phase"]) == {("0000:70:00.0", "Cordoned"): 1}
    (unseen,) = found["qatdp_pf_signal_unavailable"].samples
    assert unseen.labels == {"pf": "0000:6b:00.0", "signal": "heartbeat"}
    (ras,) = found["qatdp_pf_ras_errors"].samples
    assert (ras.labels, ras.value) == ({"pf": "0000:6b:00.0", "severity": "fatal"}, 2)
    assert values(found["qatdp_pf_heartbeat_failures"]) == {("0000:6b:00.0",): 0}


def test_what_happens_is_counted(report: Report) -> None:
    metrics = Metrics()
    metrics.allocate_answered(CY, 0.0002, granted=True)
    metrics.allocate_answered(CY, 0.0002, granted=False)
    metrics.register_answered(CY, taken=True)
    metrics.scanned(0.02)
    metrics.ticked(0.001)
    found = parsed(report, metrics)
    outcomes = {sample.labels["outcome"]: sample.value for sample in found["qatdp_allocations"].samples}
    assert outcomes == {"granted": 1, "refused": 1}
    counts = {name: of for name in found for of in found[name].samples if of.name.endswith("_count")}
    assert counts["qatdp_allocate_duration_seconds"].value == 2
    assert counts["qatdp_scan_duration_seconds"].value == counts["qatdp_tick_duration_seconds"].value == 1
    assert found["qatdp_registrations"].samples[0].labels == {"resource": CY, "outcome": "taken"}


def test_names_and_types_are_by_convention(report: Report) -> None:
    for family in parsed(report, Metrics()).values():
        assert re.fullmatch(r"(qatdp|process)_[a-z0-9_]+", family.name)
        assert family.documentation.endswith("."), family.name
        assert family.type in {"counter", "gauge", "histogram"}
        if family.type == "histogram":
            assert family.name.endswith(BASE_UNITS)
        assert not family.name.endswith(("_ms", "_count", "_info")) or family.type == "gauge"


def test_a_thousand_vfs_and_a_node_without_any_are_text_all_the_same(report: Report) -> None:
    many = tuple(a_device(f"{n:04x}:6b:00.1") for n in range(1024))
    (one, _) = parsed(replace(report, devices=many))["qatdp_devices"].samples
    assert one.value == 1024
    none = replace(report, devices=(), pfs=(), endpoints=(), scanned_at_s=None)
    assert parsed(none)["qatdp_devices"].samples == []


def test_two_daemons_in_a_process_count_for_themselves(report: Report) -> None:
    one, other = Metrics(), Metrics()
    one.scanned(1.0)
    (counted,) = [s for s in parsed(report, other)["qatdp_scan_duration_seconds"].samples if s.name.endswith("_count")]
    assert counted.value == 0
