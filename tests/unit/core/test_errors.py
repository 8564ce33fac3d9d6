"""An error says where it is, what is wrong, and what to do, in this order."""

import pytest

from qatdp.errors import AddressError, AllocationError, ConfigError, KubeletStateError, QatdpError, UnknownDeviceError


def test_the_hint_is_apart_from_the_message() -> None:
    error = QatdpError("cannot read x", hint="is it there?")
    assert (error.message, error.hint, str(error)) == ("cannot read x", "is it there?", "cannot read x (is it there?)")
    assert str(QatdpError("cannot read x")) == "cannot read x"


def test_a_config_error_begins_with_its_key_path() -> None:
    assert str(ConfigError("resources[2].policy", "unknown", hint="see")) == "resources[2].policy: unknown (see)"
    assert str(ConfigError("", "expected keys and values")) == "expected keys and values"


@pytest.mark.parametrize(
    ("error", "status"),
    [(QatdpError, 1), (AddressError, 2), (ConfigError, 2), (AllocationError, 1), (KubeletStateError, 1)],
)
def test_exit_statuses(error: type[QatdpError], status: int) -> None:
    assert error.exit_status == status


def test_who_asks_for_what_is_not_listed_can_tell_it_from_other_refusals() -> None:
    assert issubclass(UnknownDeviceError, AllocationError)
    assert UnknownDeviceError.grpc_code != AllocationError.grpc_code
