"""A PCI address reads and writes one name per function, and its number is nobody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import addresses

from qatdp.core.model.pci import PciAddress
from qatdp.errors import AddressError


@given(addresses())
def test_parse_undoes_str(address: PciAddress) -> None:
    assert PciAddress.parse(str(address)) == address
    assert PciAddress.parse(str(address).upper()) == address
    assert PciAddress.parse_or_none(str(address)) == address


@given(st.lists(addresses(), max_size=5))
def test_the_order_is_that_of_the_kernels_enumeration(some: list[PciAddress]) -> None:
    assert sorted(some) == sorted(some, key=lambda a: (a.domain, a.bus, a.device, a.function))
    assert sorted(some) == sorted(some, key=lambda a: a.number)


@given(addresses(), addresses())
def test_the_number_is_unique_in_one_domain_and_over_all(one: PciAddress, other: PciAddress) -> None:
    assert (one.number == other.number) == (one == other)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0000:6b:00.1", PciAddress(0, 0x6B, 0, 1)),
        ("0000:6B:1F.7", PciAddress(0, 0x6B, 0x1F, 7)),
        ("10000:01:00.0", PciAddress(0x10000, 1, 0, 0)),  # Intel VMD
        ("00000000:01:00.0", PciAddress(0, 1, 0, 0)),
    ],
)
def test_what_is_read(text: str, address: PciAddress) -> None:
    assert PciAddress.parse(text) == address


def test_the_number_packs_device_and_function_as_the_kernel_does() -> None:
    assert PciAddress.parse("0000:6b:02.1").number == 0x6B11
    assert PciAddress.parse("10000:01:00.0").number == 0x10000_0100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "6b:00.1",
        "0000:6b:00",
        "0000:6b:00.8",
        "0000:6b:20.0",
        "000:6b:00.0",
        "100000000:6b:00.0",
        "0000:6b:00.0 ",
        "0000:6b:00.0\n",
        "0000:6g:00.0",
        "0000-6b-00.0",
        "٠٠٠٠:6b:00.0",  # digits, but no hexadecimal ones
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    assert PciAddress.parse_or_none(text) is None
    with pytest.raises(AddressError) as caught:
        PciAddress.parse(text)
    assert repr(text) in caught.value.message
    assert "0000:6b:00.1" in str(caught.value)


@given(st.text(max_size=14))
def test_no_text_is_more_than_refused(text: str) -> None:
    address = PciAddress.parse_or_none(text)
    assert address is None or PciAddress.parse(str(address)) == address
