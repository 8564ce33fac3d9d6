"""Services are sets whatever the kernel's order, and name their resource as Intel's plugin does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import services

from qatdp.core.model.qat import (
    FAMILIES,
    FAMILY_OF_PF,
    FAMILY_OF_VF,
    Service,
    default_name,
    default_names,
    in_order,
    parse_services,
    refused_services,
    unknown_words,
)


@given(services().flatmap(lambda some: st.tuples(st.just(some), st.permutations(sorted(some)))))
def test_any_order_of_the_same_services_is_the_same_set(drawn: tuple[frozenset[Service], list[Service]]) -> None:
    some, words = drawn
    assert parse_services(";".join(words)) == some


@given(st.text(st.sampled_from("symadcep; \n"), max_size=12))
def test_what_is_read_is_what_is_written_word_by_word(text: str) -> None:
    words = {word.strip() for word in text.split(";")} - {""}
    known = {service.value for service in Service} | {"cy"}
    meant = (words - {"cy"}) | ({"sym", "asym"} if "cy" in words else set())
    assert parse_services(text) == (meant if words and words <= known else None)
    assert set(unknown_words(text)) == words - known


@pytest.mark.parametrize(("text", "services"), [("cy", "sym;asym"), ("cy;dc", "sym;asym;dc"), ("cy;sym", "sym;asym")])
def test_word_cy_of_the_out_of_tree_driver_is_sym_and_asym(text: str, services: str) -> None:
    assert parse_services(text) == parse_services(services)


@pytest.mark.parametrize("text", ["", "\n", ";", "sym;new", "SYM", "sym,asym", "sym asym"])
def test_an_unknown_word_makes_all_unknown(text: str) -> None:
    assert parse_services(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sym;asym", "cy"),
        ("asym;sym\n", "cy"),
        ("sym", "sym"),
        ("asym", "asym"),
        ("dc", "dc"),
        ("dcc", "dcc"),
        ("asym;dc", "asym-dc"),
        ("dc;asym", "asym-dc"),
        ("dc;sym", "sym-dc"),
        ("dc;sym;asym", "asym-sym-dc"),  # gen6
        ("decomp;asym;sym", "asym-sym-decomp"),  # gen6
        ("decomp;dc", "dc-decomp"),
        ("new", "generic"),
    ],
)
def test_default_names(text: str, name: str) -> None:
    assert default_name(parse_services(text)) == name


def test_no_two_sets_of_services_have_one_name() -> None:
    assert len(default_names()) == 2 ** len(Service)  # one of these for generic instead of the empty set


@given(services() | st.none())
def test_default_names_has_every_default_name(some: frozenset[Service] | None) -> None:
    assert default_name(some) in default_names()


@given(services())
def test_in_order_keeps_all_and_knows_one_order(some: frozenset[Service]) -> None:
    assert frozenset(in_order(some)) == some
    assert in_order(some) == tuple(service for service in Service if service in some)


def test_no_device_id_is_that_of_two_families() -> None:
    ids = [number for family in FAMILIES for number in (family.pf_device, family.vf_device)]
    assert len(ids) == len(set(ids))
    assert len(FAMILY_OF_PF) == len(FAMILY_OF_VF) == len(FAMILIES)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_a_vfs_device_id_follows_its_pfs_but_for_the_oldest_family() -> None:
    assert [family.name for family in FAMILIES if family.vf_device != family.pf_device + 1] == ["dh895xcc"]


def test_services_can_be_selected_from_the_fourth_generation_on() -> None:
    selectable = {family.name for family in FAMILIES if family.selectable}
    assert selectable == {"4xxx", "401xx", "402xx", "420xx", "6xxx"}


@pytest.mark.parametrize(
    ("family", "text", "why"),
    [
        ("c62x", "dc", "c62x has no services to choose from"),
        ("4xxx", "dcc", None),
        ("4xxx", "dcc;sym", "dcc goes with no other service"),
        ("4xxx", "decomp", "4xxx has no decomp"),
        ("6xxx", "decomp", None),
        ("420xx", "asym;dc", None),
        ("420xx", "sym;asym;dc", "420xx takes 2 services at most"),
        ("6xxx", "sym;asym;dc", None),
        ("6xxx", "sym;asym;dc;decomp", "6xxx takes 3 services at most"),
    ],
)
def test_a_family_takes_what_its_driver_takes(family: str, text: str, why: str | None) -> None:
    of, services = next(one for one in FAMILIES if one.name == family), parse_services(text)
    assert services
    assert refused_services(of, services) == why


def test_vfio_denies_the_families_of_its_own_list() -> None:
    # drivers/vfio/pci/vfio_pci.c, vfio_pci_dev_in_denylist
    assert {family.name for family in FAMILIES if family.denylisted} == {"dh895xcc", "c62x", "c3xxx"}


@pytest.mark.parametrize(
    ("family", "module"),
    [("c62x", "qat_c62x"), ("dh895xcc", "qat_dh895xcc"), ("402xx", "qat_4xxx"), ("6xxx", "qat_6xxx")],
)
def test_the_module_of_a_pf_driver_has_its_own_name(family: str, module: str) -> None:
    assert {one.name: one.module for one in FAMILIES}[family] == module
