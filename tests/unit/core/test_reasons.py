"""Each reason has one message, whose words are kept here alone, and a paragraph in docs/troubleshooting.md."""

import re
from pathlib import Path
from string import Formatter

import pytest

from qatdp.core.health.verdict import TRUSTED, Condition, Health, verdict
from qatdp.core.reasons import MESSAGES, Reason, defect

DOCS = Path(__file__).parents[3] / "docs/troubleshooting.md"
TESTS = Path(__file__).parents[1]
GOLDEN = Path(__file__).with_name("reasons.golden")


def names(reason: Reason) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(MESSAGES[reason]) if name]


def test_messages_are_the_golden_ones() -> None:
    found = {reason: defect(reason, **{name: f"<{name}>" for name in names(reason)}) for reason in Reason}
    assert "".join(f"{reason}: {found[reason]}\n" for reason in Reason) == GOLDEN.read_text()


def test_defect_of_a_pf_names_the_pf_to_its_vfs() -> None:
    assert str(defect(Reason.PF_NO_DRIVER, module="qat_4xxx").of_pf("0000:6b:00.0")).startswith("its PF 0000:6b:00.0: ")
    assert str(defect(Reason.PF_DOWN, evidence="is down").of_pf("0000:6b:00.0")) == "its PF 0000:6b:00.0 is down"


OF_CONDITIONS = {
    Condition.UNPROBED: Reason.PF_UNPROBED,
    Condition.UNRESPONSIVE: Reason.PF_UNRESPONSIVE,
    Condition.FATAL: Reason.PF_FATAL,
    Condition.GONE: Reason.PF_GONE,
    Condition.FENCED: Reason.PF_FENCED,
    Condition.DOWN: Reason.PF_DOWN,
    Condition.RESTARTING: Reason.PF_RESTARTING,
    Condition.RECOVERING: Reason.PF_RECOVERING,
}


@pytest.mark.parametrize("condition", sorted(set(Condition) - TRUSTED))
def test_each_condition_that_is_not_trusted_has_a_reason(condition: Condition) -> None:
    found = verdict(Health(condition, reason="evidence")).of_pf("0000:6b:00.0")
    assert found.reason is OF_CONDITIONS[condition]
    assert "evidence" in str(found)


def test_each_reason_is_raised_by_a_test() -> None:
    tests = "".join(path.read_text() for path in TESTS.glob("**/test_*.py"))
    named = set(re.findall(r"\bReason\.([A-Z_]+)\b", tests))
    assert {reason.name for reason in Reason} - named == set()


def test_docs_have_a_paragraph_for_each_reason_and_no_other() -> None:
    assert re.findall(r"^### `(\w+)`", DOCS.read_text(), re.MULTILINE) == [str(reason) for reason in Reason]
