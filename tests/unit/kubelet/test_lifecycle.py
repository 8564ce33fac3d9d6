"""An endpoint comes back whatever a kubelet does, and never leaves two listeners behind."""

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.kubelet.lifecycle import TABLE, Command, Event, State, react

EVENTS = st.lists(st.sampled_from(Event), max_size=30)
UNDER_WAY = (State.REGISTERING, State.OUTRUN)
# Between the kubelet's answer to Register and its stream there is no order.
WELCOMES = ((Event.REGISTERED, Event.STREAM_OPENED), (Event.STREAM_OPENED, Event.REGISTERED))


class Servers:
    """What the commands lead to: listeners by their number, and one timer that is armed or not."""

    def __init__(self) -> None:
        self.state = State.ABSENT
        self.listeners: list[int] = []
        self.begun = 0
        self.is_armed = False

    def happens(self, event: Event) -> tuple[Command, ...]:
        """Let something happen, a timer only where one is armed; return what was done."""
        if event is Event.TIMER:
            if not self.is_armed:
                return ()
            self.is_armed = False
        self.state, commands = react(self.state, event)
        for command in commands:
            self._do(command)
        return commands

    def _do(self, command: Command) -> None:
        if command is Command.REGISTER:
            self.begun += 1
            self.listeners.append(self.begun)
        elif command is Command.RETIRE:
            self.listeners = self.listeners[-1:]
        elif command is Command.CLOSE:
            self.listeners = []
        elif command in {Command.BACK_OFF, Command.WAIT_FOR_STREAM, Command.PROVE}:
            self.is_armed = True


def after(events: list[Event]) -> Servers:
    servers = Servers()
    for event in events:
        servers.happens(event)
    return servers


def test_the_table_is_total() -> None:
    assert set(TABLE) == set(product(State, Event))


@given(EVENTS)
def test_there_is_one_listener_once_it_settles_and_none_while_nobody_is_to_connect(events: list[Event]) -> None:
    servers = after(events)
    match servers.state:
        case State.LIVE:
            assert servers.listeners == [servers.begun]
        case State.REGISTERING | State.OUTRUN | State.REGISTERED:
            assert servers.listeners[-1] == servers.begun
        case State.ABSENT | State.WAITING | State.CLOSED:
            assert servers.listeners == []


@given(EVENTS)
def test_a_kubelet_socket_that_is_made_anew_leads_to_a_new_registration_or_the_one_under_way_is_with_it(
    events: list[Event],
) -> None:
    servers = after(events)
    under_way, begun = servers.state in UNDER_WAY, servers.begun
    commands = servers.happens(Event.KUBELET_UP)
    if under_way:
        assert commands == ()
        commands = servers.happens(Event.REFUSED)  # else it was with the new one
    if servers.state is not State.CLOSED:
        assert commands == (Command.REGISTER,)
        assert servers.listeners[-1] == servers.begun == begun + 1


@given(EVENTS, st.sampled_from(WELCOMES))
def test_a_kubelet_that_answers_has_one_stream_to_the_newest_listener(
    events: list[Event], welcome: tuple[Event, ...]
) -> None:
    servers = after([event for event in events if event is not Event.STOP])
    for event in (Event.KUBELET_UP, *welcome):
        servers.happens(event)
    assert (servers.state, servers.listeners) == (State.LIVE, [servers.begun])


@given(EVENTS)
def test_who_waits_has_a_timer_armed(events: list[Event]) -> None:
    servers = after(events)
    if servers.state in {State.WAITING, State.REGISTERED}:
        assert servers.is_armed


@given(EVENTS)
def test_who_waits_tries_again_when_the_timer_ends(events: list[Event]) -> None:
    servers = after(events)
    if servers.state is State.WAITING:
        assert servers.happens(Event.TIMER) == (Command.REGISTER,)


@given(EVENTS)
def test_closed_is_final(events: list[Event]) -> None:
    servers = after([Event.KUBELET_UP, Event.STOP])
    for event in events:
        assert servers.happens(event) == ()
        assert (servers.state, servers.listeners) == (State.CLOSED, [])


@pytest.mark.parametrize("state", [*UNDER_WAY, State.REGISTERED, State.LIVE])
def test_other_options_are_registered_anew_and_who_is_not_registered_takes_them_next_time(state: State) -> None:
    assert react(state, Event.OPTIONS_CHANGED) == (State.REGISTERING, (Command.REGISTER,))


# What matters to each state. All else is an echo of an older try, or something that its own end will tell.
HEEDED: Mapping[State, set[Event]] = {
    State.ABSENT: {Event.KUBELET_UP, Event.STOP},
    State.REGISTERING: set(Event) - {Event.KUBELET_GONE, Event.TIMER},
    State.OUTRUN: set(Event) - {Event.KUBELET_UP, Event.TIMER},
    State.REGISTERED: set(Event) - {Event.REGISTERED, Event.REFUSED},
    State.LIVE: {Event.STREAM_ENDED, Event.KUBELET_UP, Event.OPTIONS_CHANGED, Event.TIMER, Event.STOP},
    State.WAITING: {Event.KUBELET_UP, Event.KUBELET_GONE, Event.TIMER, Event.STOP},
    State.CLOSED: set(),
}


@pytest.mark.parametrize(("state", "event"), list(TABLE))
def test_what_does_not_matter_to_a_state_changes_nothing(state: State, event: Event) -> None:
    assert (react(state, event) == (state, ())) == (event not in HEEDED[state])


@pytest.mark.parametrize("state", [State.REGISTERED, State.WAITING])
def test_who_waits_for_a_kubelet_that_is_gone_waits_for_the_next_one(state: State) -> None:
    assert react(state, Event.KUBELET_GONE) == (State.ABSENT, (Command.CLOSE,))


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_the_end_of_the_daemon_closes_everything_at_once(state: State) -> None:
    assert react(state, Event.STOP) == (State.CLOSED, (Command.CLOSE,))


@pytest.mark.parametrize("state", [State.REGISTERING, State.REGISTERED, State.LIVE])
def test_a_stream_that_ended_without_our_doing_is_a_lost_registration(state: State) -> None:
    assert react(state, Event.STREAM_ENDED) == (State.WAITING, (Command.CLOSE, Command.BACK_OFF))


def test_a_kubelet_that_closes_the_new_stream_with_the_old_one_is_registered_with_once_more() -> None:
    # Up to 1.36 it does so when the same resource registers again.
    servers = after([Event.KUBELET_UP, *WELCOMES[0], Event.KUBELET_UP, *WELCOMES[0]])
    assert servers.listeners == [2]
    servers.happens(Event.STREAM_ENDED)
    assert servers.listeners == []
    for event in (Event.TIMER, *WELCOMES[1]):
        servers.happens(event)
    assert (servers.state, servers.listeners) == (State.LIVE, [3])


def test_a_stream_that_does_not_come_is_given_up() -> None:
    servers = after([Event.KUBELET_UP, Event.REGISTERED])
    assert servers.happens(Event.TIMER) == (Command.CLOSE, Command.BACK_OFF)
    assert servers.is_armed


def test_only_a_stream_that_has_lasted_makes_the_next_back_off_a_short_one() -> None:
    assert [at for at, (_, commands) in TABLE.items() if Command.SETTLED in commands] == [(State.LIVE, Event.TIMER)]
    servers = after([Event.KUBELET_UP, *WELCOMES[0]])
    assert servers.happens(Event.TIMER) == (Command.SETTLED,)
    assert (servers.state, servers.listeners) == (State.LIVE, [1])


def test_nothing_is_tried_while_there_is_no_kubelet() -> None:
    servers = after([Event.KUBELET_UP, Event.REFUSED, Event.KUBELET_GONE])
    assert servers.happens(Event.TIMER) == ()
    assert servers.state is State.ABSENT
