"""The life of one resource's endpoint with the kubelet, as a table: (state, event) -> (state, commands).

Read in the device manager's source and run against it (1.33 to 1.37):
 - The kubelet opens ListAndWatch once for a Register and never again, so a stream that ended without our doing means
   that the resource is registered no more.
 - A second Register on a path whose client is still tracked poisons the kubelet (1.37): each try has a new socket, and
   a try that failed takes its socket along, so that a late connection finds nobody (a Register that its caller gave up
   goes on in the kubelet up to 1.34).
 - Up to 1.36 the end of an old stream makes the kubelet close the new one as well: that is one more lost stream.
 - So while a Register is under way, another kubelet is no reason for a second one. Which of them answers cannot be
   told; were it the older one, its stream ends with it.
 - A resource has one list, whatever number of streams it has: after the old server is down, the list is sent again.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias


class State(StrEnum):
    ABSENT = "absent"  # no kubelet to register with
    REGISTERING = "registering"  # a new server listens, Register is under way
    OUTRUN = "outrun"  # the same, and another kubelet has come since: it may be that which answers
    REGISTERED = "registered"  # the kubelet has answered; its stream is to come
    LIVE = "live"  # the stream is open
    WAITING = "waiting"  # for the next try
    CLOSED = "closed"  # the daemon ends


class Event(StrEnum):
    KUBELET_UP = "kubelet-up"  # kubelet.sock is there and was not, or it is another one
    KUBELET_GONE = "kubelet-gone"  # kubelet.sock is not there
    REGISTERED = "registered"
    REFUSED = "refused"  # Register failed, or was not answered in time
    STREAM_OPENED = "stream-opened"  # of the newest server
    STREAM_ENDED = "stream-ended"  # of the newest server
    OPTIONS_CHANGED = "options-changed"  # the kubelet takes them with a Register alone
    TIMER = "timer"
    STOP = "stop"


class Command(StrEnum):
    REGISTER = "register"  # listen on a new socket, then register it
    RETIRE = "retire"  # close all servers but the newest, then send the list again
    CLOSE = "close"  # close all servers
    WAIT_FOR_STREAM = "wait-for-stream"  # arm the timer with the time a stream may take to come
    BACK_OFF = "back-off"  # arm the timer, longer each time
    PROVE = "prove"  # arm the timer with the time a stream has to last
    SETTLED = "settled"  # the next back-off is a short one again


Reaction: TypeAlias = tuple[State, tuple[Command, ...]]
_TRY = (State.REGISTERING, (Command.REGISTER,))
_LATER = (State.WAITING, (Command.CLOSE, Command.BACK_OFF))
# A stream can end as soon as it is open, over a list that the kubelet does not take: that must not be tried at once.
_LIVE = (State.LIVE, (Command.RETIRE, Command.PROVE))
_STOP = (State.CLOSED, (Command.CLOSE,))
_NO_KUBELET = (State.ABSENT, (Command.CLOSE,))


def _stay(state: State) -> Reaction:
    return state, ()


# A kubelet that is gone ends the stream or lets Register fail by itself, so KUBELET_GONE matters to who waits only.
TABLE: Mapping[tuple[State, Event], Reaction] = MappingProxyType(
    {
        (State.ABSENT, Event.KUBELET_UP): _TRY,
        (State.ABSENT, Event.KUBELET_GONE): _stay(State.ABSENT),
        (State.ABSENT, Event.REGISTERED): _stay(State.ABSENT),
        (State.ABSENT, Event.REFUSED): _stay(State.ABSENT),
        (State.ABSENT, Event.STREAM_OPENED): _stay(State.ABSENT),
        (State.ABSENT, Event.STREAM_ENDED): _stay(State.ABSENT),
        (State.ABSENT, Event.OPTIONS_CHANGED): _stay(State.ABSENT),
        (State.ABSENT, Event.TIMER): _stay(State.ABSENT),
        (State.ABSENT, Event.STOP): _STOP,
        (State.REGISTERING, Event.KUBELET_UP): _stay(State.OUTRUN),
        (State.REGISTERING, Event.KUBELET_GONE): _stay(State.REGISTERING),
        (State.REGISTERING, Event.REGISTERED): (State.REGISTERED, (Command.WAIT_FOR_STREAM,)),
        (State.REGISTERING, Event.REFUSED): _LATER,
        # The kubelet opens the stream from another goroutine than the one that answers Register: it can come first.
        (State.REGISTERING, Event.STREAM_OPENED): _LIVE,
        (State.REGISTERING, Event.STREAM_ENDED): _LATER,
        (State.REGISTERING, Event.OPTIONS_CHANGED): _TRY,
        (State.REGISTERING, Event.TIMER): _stay(State.REGISTERING),
        (State.REGISTERING, Event.STOP): _STOP,
        (State.OUTRUN, Event.KUBELET_UP): _stay(State.OUTRUN),
        (State.OUTRUN, Event.KUBELET_GONE): _stay(State.REGISTERING),
        (State.OUTRUN, Event.REGISTERED): (State.REGISTERED, (Command.WAIT_FOR_STREAM,)),
        (State.OUTRUN, Event.REFUSED): _TRY,
        (State.OUTRUN, Event.STREAM_OPENED): _LIVE,
        (State.OUTRUN, Event.STREAM_ENDED): _TRY,
        (State.OUTRUN, Event.OPTIONS_CHANGED): _TRY,
        (State.OUTRUN, Event.TIMER): _stay(State.OUTRUN),
        (State.OUTRUN, Event.STOP): _STOP,
        (State.REGISTERED, Event.KUBELET_UP): _TRY,
        (State.REGISTERED, Event.KUBELET_GONE): _NO_KUBELET,
        (State.REGISTERED, Event.REGISTERED): _stay(State.REGISTERED),
        (State.REGISTERED, Event.REFUSED): _stay(State.REGISTERED),
        (State.REGISTERED, Event.STREAM_OPENED): _LIVE,
        (State.REGISTERED, Event.STREAM_ENDED): _LATER,
        (State.REGISTERED, Event.OPTIONS_CHANGED): _TRY,
        (State.REGISTERED, Event.TIMER): _LATER,
        (State.REGISTERED, Event.STOP): _STOP,
        (State.LIVE, Event.KUBELET_UP): _TRY,
        (State.LIVE, Event.KUBELET_GONE): _stay(State.LIVE),
        (State.LIVE, Event.REGISTERED): _stay(State.LIVE),
        (State.LIVE, Event.REFUSED): _stay(State.LIVE),
        (State.LIVE, Event.STREAM_OPENED): _stay(State.LIVE),
        (State.LIVE, Event.STREAM_ENDED): _LATER,
        (State.LIVE, Event.OPTIONS_CHANGED): _TRY,
        (State.LIVE, Event.TIMER): (State.LIVE, (Command.SETTLED,)),
        (State.LIVE, Event.STOP): _STOP,
        (State.WAITING, Event.KUBELET_UP): _TRY,
        (State.WAITING, Event.KUBELET_GONE): _NO_KUBELET,
        (State.WAITING, Event.REGISTERED): _stay(State.WAITING),
        (State.WAITING, Event.REFUSED): _stay(State.WAITING),
        (State.WAITING, Event.STREAM_OPENED): _stay(State.WAITING),
        (State.WAITING, Event.STREAM_ENDED): _stay(State.WAITING),
        (State.WAITING, Event.OPTIONS_CHANGED): _stay(State.WAITING),
        (State.WAITING, Event.TIMER): _TRY,
        (State.WAITING, Event.STOP): _STOP,
        **{(State.CLOSED, event): _stay(State.CLOSED) for event in Event},
    }
)


def react(state: State, event: Event) -> Reaction:
    """Return the state that follows, and what is to be done, in this order."""
    return TABLE[state, event]
