"""The release protocol lets an ID go only after facts a to f, in this order; whatever is in doubt is held."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.strategies import addresses, resources

from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import (
    CHAINS,
    LATER,
    LEAVING,
    MAYBE_IN_USE,
    OUT_OF_LIST,
    STAYING,
    TABLE,
    WITHDRAWN,
    Fact,
    Hold,
    Ledger,
    LedgerEntry,
    Observation,
    Proof,
    Step,
    found,
    next_step,
    observe,
    settle,
)

VF, OTHER = PciAddress.parse("0000:6b:00.1"), PciAddress.parse("0000:6b:00.2")
CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
GOLDEN = Path(__file__).with_name("protocol.golden")

# The facts a to f, and the list without the ID that ends it.
CHAIN = (
    Fact.LEAVE,
    Fact.LISTED,
    Fact.OVERTAKEN,
    Fact.IDLE,
    Fact.NOT_IN_PODS,
    Fact.LISTED,
    Fact.NOT_IN_CHECKPOINT,
)
# Each way on which an ID that a kubelet has read may leave its list: d has two, and an admission stands for d to f.
BY_CHECKPOINT = tuple(Fact.UNWRITTEN if fact is Fact.NOT_IN_PODS else fact for fact in CHAIN)
BY_ADMISSION = (*CHAIN[:4], Fact.ADMITTED_WITHOUT)
WAYS = (CHAIN, BY_CHECKPOINT, BY_ADMISSION)
FREED = dict.fromkeys(MAYBE_IN_USE, Step.WITHDRAWN) | dict.fromkeys(STAYING, Step.AVAILABLE)
STEPS = st.sampled_from(Step)
READ = st.sampled_from([Step.AVAILABLE, *sorted(MAYBE_IN_USE, key=str)])
FACTS = st.sampled_from(Fact)


def at(step: Step, since: int = 5) -> Ledger:
    return {VF: LedgerEntry(CY, step, since)}


def seen(fact: Fact, began: int = 6, moment: int = 7) -> Observation:
    return Observation(fact, (VF,), began, moment)


def after(start: Step, *facts: Fact) -> Step:
    for fact in facts:
        start = next_step(start, fact)
    return start


def test_table_is_the_golden_one() -> None:
    """Made of a few rules, it is kept here line by line: step, fact, and the step that follows."""
    lines = [f"{step.name} {fact.name} {to.name}\n" for step, row in TABLE.items() for fact, to in row.items()]
    assert sorted(lines) == sorted(GOLDEN.read_text().splitlines(keepends=True))
    assert set(TABLE) == set(Step)


def test_pairs_of_hold_and_proof_that_cannot_be_are_no_steps() -> None:
    for hold, proof in product(Hold, Proof):
        can_be = proof in CHAINS.get(hold, (Proof.NONE,))
        assert can_be == any((step.hold, step.proof) == (hold, proof) for step in Step)


def test_every_step_is_one_of_new_offered_in_use_withdrawn_or_out() -> None:
    parts = ({Step.NEW, Step.AVAILABLE}, MAYBE_IN_USE, WITHDRAWN, OUT_OF_LIST)
    assert sorted((step for part in parts for step in part), key=str) == sorted(Step, key=str)
    assert (WITHDRAWN | MAYBE_IN_USE) - STAYING == LEAVING


def paths(step: Step, passed: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], tuple[Fact, ...]]]:
    """Yield every way to GONE that comes to no step twice, with the facts along it."""
    if step is Step.GONE:
        yield (*passed, step), ()
        return
    for fact, to in TABLE[step].items():
        if to not in passed and to is not step:
            for steps, facts in paths(to, (*passed, step)):
                yield steps, (fact, *facts)


@pytest.mark.parametrize("start", [Step.AVAILABLE, *sorted(MAYBE_IN_USE, key=str)])
def test_every_way_from_what_a_kubelet_has_read_to_gone_ends_with_the_whole_chain(start: Step) -> None:
    ways = list(paths(start))
    assert ways
    for steps, facts in ways:
        withdrawn = len(steps) - 1 - steps[::-1].index(Step.WITHDRAWN)
        proof = facts[withdrawn:-1]
        begun = [way[1:][: len(proof) - 1] for way in (CHAIN, BY_CHECKPOINT)]
        is_by_admission = proof[-1] is Fact.ADMITTED_WITHOUT and len(proof) >= 4 and proof[:-1] in begun
        assert proof in (CHAIN[1:], BY_CHECKPOINT[1:]) or is_by_admission
        assert facts[-1] in {Fact.LISTED, Fact.CUT}


def test_without_the_chain_nothing_comes_to_gone_but_what_no_kubelet_has_read() -> None:
    into = {(step, fact) for step, row in TABLE.items() for fact, to in row.items() if to is Step.GONE}
    assert into == {(Step.NEW, Fact.LEAVE), (Step.RELEASED, Fact.LISTED), (Step.RELEASED, Fact.CUT)}
    into = {(step, fact) for step, row in TABLE.items() for fact, to in row.items() if to is Step.RELEASED}
    by_admission = {(step, Fact.ADMITTED_WITHOUT) for step in (Step.QUIET, Step.NOT_IN_PODS, Step.LIST_RESENT)}
    assert into == {(Step.LIST_RESENT, Fact.NOT_IN_CHECKPOINT)} | by_admission


@pytest.mark.parametrize("chain", [CHAIN, BY_CHECKPOINT])
def test_the_chain_leads_through_its_steps_one_by_one(chain: tuple[Fact, ...]) -> None:
    step, passed = Step.AVAILABLE, []
    for fact in chain:
        step = next_step(step, fact)
        passed.append(step)
    assert [*passed, next_step(step, Fact.LISTED)] == [
        Step.WITHDRAWN,
        Step.SENT,
        Step.SEEN_BY_KUBELET,
        Step.QUIET,
        Step.NOT_IN_PODS,
        Step.LIST_RESENT,
        Step.RELEASED,
        Step.GONE,
    ]


def is_in_order(wanted: tuple[Fact, ...], facts: list[Fact]) -> bool:
    rest = iter(facts)
    return all(fact in rest for fact in wanted)


def is_proved(facts: list[Fact]) -> bool:
    return any(is_in_order(way[1:], facts) for way in WAYS)


@given(
    st.lists(FACTS | st.sampled_from(CHAIN), max_size=40),
    st.sampled_from([Step.AVAILABLE, *sorted(MAYBE_IN_USE, key=str)]),
)
def test_no_facts_let_an_id_go_without_the_chain_among_them(facts: list[Fact], start: Step) -> None:
    if after(start, *facts) in OUT_OF_LIST:
        assert is_proved(facts)


@given(st.data(), st.lists(FACTS, max_size=3), st.sampled_from(WAYS))
def test_the_chain_with_one_fact_less_lets_nothing_go(
    data: st.DataObject, before: list[Fact], way: tuple[Fact, ...]
) -> None:
    missing = data.draw(st.integers(0, len(way) - 1))
    some = [*before, *way[:missing], *way[missing + 1 :], Fact.LISTED]
    assert after(Step.AVAILABLE, *some) not in OUT_OF_LIST or is_proved(some)


@pytest.mark.parametrize("step", [Step.QUIET, Step.NOT_IN_PODS, Step.LIST_RESENT])
def test_admission_without_an_id_releases_it_once_quiet(step: Step) -> None:
    assert next_step(step, Fact.ADMITTED_WITHOUT) is Step.RELEASED


@pytest.mark.parametrize("step", [Step.NEW, Step.AVAILABLE, Step.WITHDRAWN, Step.SENT, Step.SEEN_BY_KUBELET])
def test_admission_proves_nothing_before_quiet(step: Step) -> None:
    assert next_step(step, Fact.ADMITTED_WITHOUT) is step


@pytest.mark.parametrize("step", sorted(MAYBE_IN_USE, key=str))
def test_admission_without_an_id_tells_that_nobody_has_it(step: Step) -> None:
    assert next_step(step, Fact.ADMITTED_WITHOUT) is FREED[step]


@pytest.mark.parametrize("step", sorted(WITHDRAWN, key=str))
def test_who_gets_or_has_a_withdrawn_id_is_waited_for(step: Step) -> None:
    assert next_step(step, Fact.ALLOCATED) is next_step(step, Fact.NAMED) is Step.CORDONED


@pytest.mark.parametrize("step", sorted(WITHDRAWN, key=str))
def test_a_withdrawn_id_that_is_to_stay_is_offered_again(step: Step) -> None:
    assert next_step(step, Fact.STAY) is Step.AVAILABLE


@pytest.mark.parametrize("step", sorted(WITHDRAWN, key=str))
def test_without_a_stream_the_chain_begins_anew(step: Step) -> None:
    assert next_step(step, Fact.CUT) is Step.WITHDRAWN


@pytest.mark.parametrize("step", [Step.SEEN_BY_KUBELET, Step.QUIET, Step.NOT_IN_PODS, Step.LIST_RESENT])
def test_a_choice_that_the_kubelet_is_about_to_make_sends_the_chain_back_to_sent(step: Step) -> None:
    assert next_step(step, Fact.ASKED) is Step.SENT


@given(st.sampled_from(sorted(MAYBE_IN_USE, key=str)), FACTS)
def test_what_may_be_in_use_is_so_until_the_last_fact_of_its_own_chain(step: Step, fact: Fact) -> None:
    to = next_step(step, fact)
    ends = {Step.CORDONED_LIST_RESENT: Step.WITHDRAWN, Step.HELD_LIST_RESENT: Step.AVAILABLE}
    by_admission = fact is Fact.ADMITTED_WITHOUT and to is FREED[step]
    assert to in MAYBE_IN_USE or by_admission or (fact is Fact.NOT_IN_CHECKPOINT and to is ends[step])


@given(STEPS, st.sampled_from(sorted(LATER)), st.integers(0, 5))
@example(Step.SEEN_BY_KUBELET, Fact.IDLE, 5)  # at the very moment
@example(Step.QUIET, Fact.ADMITTED_WITHOUT, 5)
def test_a_fact_that_was_begun_before_the_step_was_reached_changes_nothing(step: Step, fact: Fact, began: int) -> None:
    ledger = at(step, since=5)
    assert observe(ledger, seen(fact, began)) is ledger


@given(STEPS, FACTS)
def test_a_fact_that_was_begun_later_leads_where_the_table_says(step: Step, fact: Fact) -> None:
    ledger = at(step, since=5)
    to = next_step(step, fact)
    assert observe(ledger, seen(fact, began=6, moment=9)) == (ledger if to is step else at(to, since=9))


@given(STEPS, st.sampled_from([Fact.ALLOCATED, Fact.ASKED, Fact.NAMED, Fact.HANDED, Fact.CUT]))
def test_what_speaks_against_letting_go_counts_whenever_it_began(step: Step, fact: Fact) -> None:
    assert observe(at(step, since=5), seen(fact, began=0))[VF].step is next_step(step, fact)


def test_a_fact_about_an_unknown_id_changes_nothing() -> None:
    ledger = at(Step.AVAILABLE)
    assert observe(ledger, Observation(Fact.NAMED, (PciAddress.parse("0000:99:00.1"),), 6, 7)) is ledger


def test_an_id_that_a_fact_does_not_move_keeps_it_from_no_other() -> None:
    unknown, late = PciAddress.parse("0000:99:00.1"), Observation(Fact.LISTED, (), 6, 7)
    ledger = {OTHER: LedgerEntry(CY, Step.WITHDRAWN, 6), VF: LedgerEntry(CY, Step.WITHDRAWN, 5)}
    after_all = observe(ledger, replace(late, of=(unknown, OTHER, VF)))
    assert after_all == {**ledger, VF: LedgerEntry(CY, Step.SENT, 7)}


@given(st.lists(st.tuples(addresses(), resources()), max_size=6))
def test_all_that_is_named_at_the_start_is_held_under_one_name(named: list[tuple[PciAddress, str]]) -> None:
    ledger = found(named, (), 3)
    assert ledger.keys() == {address for address, _ in named}
    for address, entry in ledger.items():
        assert (address, entry.resource) in named
        assert (entry.step, entry.since) == (Step.HELD, 3)
    assert ledger == found(reversed(named), (), 3)


def test_what_is_offered_at_the_start_is_in_a_list_and_what_is_also_held_is_held() -> None:
    ledger = found([(VF, CY)], [(VF, DC), (OTHER, DC)], 3)
    assert ledger == {VF: LedgerEntry(CY, Step.HELD, 3), OTHER: LedgerEntry(DC, Step.AVAILABLE, 3)}


def test_what_is_new_counts_as_read_as_soon_as_its_list_is_handed_over() -> None:
    assert next_step(Step.NEW, Fact.HANDED) is Step.AVAILABLE
    assert next_step(Step.NEW, Fact.LISTED) is Step.NEW  # a list that was written has been handed over before


def test_settle_enters_what_is_new_and_forgets_what_no_list_has() -> None:
    assert settle({}, {VF: CY}, 4) == {VF: LedgerEntry(CY, Step.NEW, 4)}
    assert settle(at(Step.GONE), {}, 4) == {}
    assert settle(at(Step.GONE), {VF: DC}, 4) == {VF: LedgerEntry(DC, Step.NEW, 4)}
    assert settle(at(Step.NEW), {VF: DC}, 4) == {VF: LedgerEntry(DC, Step.NEW, 4)}


def test_settle_keeps_the_name_of_what_a_kubelet_may_have_read() -> None:
    assert settle(at(Step.AVAILABLE), {VF: DC}, 9) == at(Step.WITHDRAWN, since=9)
    assert settle(at(Step.HELD), {}, 9) == at(Step.CORDONED, since=9)
    assert settle(at(Step.RELEASED), {VF: DC}, 9) == at(Step.RELEASED)
    assert settle(at(Step.SENT), {VF: CY}, 9) == at(Step.AVAILABLE, since=9)
    assert settle(at(Step.RELEASED), {VF: CY}, 9) == at(Step.AVAILABLE, since=9)
