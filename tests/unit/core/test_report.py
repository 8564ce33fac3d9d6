"""A report is told as JSON has it, and says why a node cannot serve pods yet."""

import json
from dataclasses import replace

import pytest

from qatdp.core.status.report import EndpointReport, PfReport, Report, StatusEvent, plain

SERVING = EndpointReport("qat.intel.com/cy", "serving", registered=True)
WAITING = EndpointReport("qat.intel.com/dc", "registering", registered=False)
REPORT = Report("1.0", "c", "/sys", started_at_s=10.0, scanned_at_s=11.5, endpoints=(SERVING,))


def test_it_is_told_field_by_field_whatever_lies_in_it() -> None:
    pf = PfReport(
        "0000:6b:00.0", "4xxx", None, "up", unavailable_signals={"heartbeat": "no debugfs"}, counters={"ras_fatal": 0}
    )
    assert plain(pf) == {
        "address": "0000:6b:00.0",
        "family": "4xxx",
        "numaNode": None,
        "state": "up",
        "condition": None,
        "healthy": True,
        "reason": None,
        "since": None,
        "unavailableSignals": {"heartbeat": "no debugfs"},
        "counters": {"ras_fatal": 0},
        "phase": None,
        "progress": None,
        "message": None,
        "noVfsMessage": None,
        "driver": None,
        "noVfs": None,
    }
    told = plain(replace(REPORT, history=(StatusEvent(11.5, "added", devices=("a", "b"), count=2),)))
    assert isinstance(told, dict)
    assert told["endpoints"] == [plain(SERVING)]
    happened = {
        "at": 11.5,
        "what": "added",
        "resource": None,
        "devices": ["a", "b"],
        "count": 2,
        "reason": None,
        "message": None,
    }
    assert told["history"] == [happened]
    assert json.loads(json.dumps(told)) == told


def test_a_key_becomes_a_text_and_what_json_has_not_is_a_mistake_of_ours() -> None:
    assert plain({1: "a"}) == {"1": "a"}
    with pytest.raises(AssertionError):
        plain({"a": {1, 2}})
    with pytest.raises(AssertionError):
        plain(Report)


def test_it_is_ready_once_it_has_looked_and_each_resource_is_registered() -> None:
    assert REPORT.not_ready == ()
    assert replace(REPORT, obstacle="the look hangs", endpoints=(WAITING,)).not_ready == ("the look hangs",)
    assert replace(REPORT, endpoints=(SERVING, WAITING)).not_ready == ("qat.intel.com/dc is registering",)
