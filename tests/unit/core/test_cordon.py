"""No drain lasts longer than it may, and one that was given back does not begin again."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SLOTS

from qatdp.core.config.spec import Partition, ProvisionSpec, When
from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.cordon import Drain

PF, OTHER = SLOTS[:2]
WISH = ProvisionSpec((Partition(None),), when=When.CORDON, cordon_timeout_s=60)
SOME = st.sets(st.sampled_from((PF, OTHER)))


def after(looks: Sequence[tuple[set[PciAddress], set[PciAddress], float]], spec: ProvisionSpec = WISH) -> Drain:
    drain = Drain(spec)
    for kept, changing, now_s in looks:
        drain = drain.after(spec, kept, changing, now_s)
    return drain


def test_a_pf_is_given_back_when_its_time_is_over() -> None:
    drain = after([({PF}, {PF}, 100.0), ({PF}, {PF}, 130.0)])
    assert drain.given_back(159.9) == frozenset()
    assert drain.given_back(160.0) == {PF}


def test_one_that_waits_for_its_turn_does_not_drain_yet() -> None:
    assert after([({PF, OTHER}, {PF}, 0.0)]).given_back(1000.0) == {PF}


def test_one_that_was_given_back_stays_so_for_as_long_as_pods_keep_it() -> None:
    looks = [({PF}, {PF}, 0.0), ({PF}, set[PciAddress](), 60.0), ({PF}, set[PciAddress](), 1000.0)]
    assert after(looks).given_back(1000.0) == {PF}
    assert after([*looks, (set(), {PF}, 1001.0)]).given_back(2000.0) == frozenset()


def test_another_wish_begins_anew() -> None:
    drain = after([({PF}, {PF}, 0.0)]).after(ProvisionSpec((), when=When.CORDON, cordon_timeout_s=60), {PF}, {PF}, 50.0)
    assert drain.given_back(100.0) == frozenset()


def test_without_a_limit_nothing_is_given_back() -> None:
    assert not after([({PF}, {PF}, 0.0)], ProvisionSpec((), when=When.CORDON)).given_back(1e9)


@given(st.lists(st.tuples(SOME, SOME, st.floats(0, 30)), max_size=20))
def test_no_drain_goes_on_for_longer_than_it_may(looks: list[tuple[set[PciAddress], set[PciAddress], float]]) -> None:
    drain, now_s, drained_s = Drain(WISH), 0.0, dict.fromkeys((PF, OTHER), 0.0)
    for kept, wanted, passed_s in looks:
        now_s += passed_s
        changing = {pf for pf in wanted if pf not in kept or pf not in drain.given_back(now_s)}
        for pf in drained_s:
            drained_s[pf] = drained_s[pf] + passed_s if pf in kept & {of for of, _ in drain.since_s} else 0.0
            assert pf not in changing & kept or drained_s[pf] < 60 + 30
        drain = drain.after(WISH, kept, changing, now_s)
