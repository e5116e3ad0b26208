"""The short way in for whole messages: the same as the library says, wherever input is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from nuska.transport.server.framing import PLAIN, framed
from nuska.transport.server.incoming import Incoming

LARGEST = 70_000
LENGTHS = (0, 1, 125, 126, 65_535, 65_536, LARGEST)


def opened() -> ServerProtocol:
    return ServerProtocol(max_size=LARGEST, state=State.OPEN)


def sent(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, data, fin).serialize(mask=True)


def in_pieces(data: bytes) -> bytes:
    half = len(data) // 2
    return (
        sent(Opcode.TEXT, data[:half], fin=False)
        + sent(Opcode.PING, b"between")
        + sent(Opcode.CONT, data[half:])
    )


def as_one(events: list[Frame]) -> list[tuple[bytes, Opcode, bool]]:
    return [(bytes(one.data), one.opcode, one.fin) for one in events]


def as_heard(found) -> list[tuple[bytes, Opcode, bool]]:
    """What ``Incoming`` found, as the library would have said it."""
    frames = [
        one if isinstance(one, Frame) else Frame(Opcode.BINARY if one[1] else Opcode.TEXT, one[0])
        for one in found
    ]
    return as_one(frames)


WHOLE = st.builds(
    lambda opcode, length: sent(opcode, b"x" * length),
    st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
    st.sampled_from(LENGTHS),
)
OTHERS = st.sampled_from(
    [
        sent(Opcode.PING, b"there?"),
        sent(Opcode.PONG),
        in_pieces(b"in two pieces"),
        sent(Opcode.TEXT, b"begun", fin=False),
        sent(Opcode.CONT, b"the end of nothing"),
        sent(Opcode.CLOSE, b"\x03\xe8"),
        Frame(Opcode.TEXT, b"open to all").serialize(mask=False),
        sent(Opcode.TEXT, b"x" * (LARGEST + 1)),
        b"\xc1\x80\0\0\0\0",
        b"\x83\x80\0\0\0\0",
    ]
)


@given(frames=st.lists(WHOLE | OTHERS, max_size=6), cuts=st.lists(st.integers(1, 70_000)))
def test_whatever_comes_is_understood_as_the_library_does(frames, cuts) -> None:
    stream = b"".join(frames)
    library, short = opened(), opened()
    library.receive_data(stream)
    incoming, found = Incoming(short, LARGEST), []
    for cut in [*cuts, len(stream)]:
        if piece := stream[:cut]:
            found += incoming.feed(piece)
        stream = stream[cut:]
    assert as_heard(found) == as_one(library.events_received())
    assert short.data_to_send() == library.data_to_send()
    assert short.state is library.state


@pytest.mark.parametrize("length", LENGTHS)
def test_a_message_may_come_byte_by_byte_at_its_head(length: int) -> None:
    incoming = Incoming(opened(), LARGEST)
    frame = sent(Opcode.BINARY, b"y" * length)
    for at in range(14):
        assert not incoming.feed(frame[at : at + 1]) or at + 1 == len(frame)
    if frame[14:]:
        assert incoming.feed(frame[14:]) == [(b"y" * length, True)]


@pytest.mark.parametrize("cut", [1, 7, 14, 20, 40_000, 65_549])
def test_what_is_passed_over_is_not_kept_and_the_end_is_heard(cut: int) -> None:
    protocol = opened()
    incoming = Incoming(protocol, LARGEST)
    long = sent(Opcode.TEXT, b"x" * 65_536)
    assert incoming.feed(long[:cut]) == []
    assert incoming.kept == cut
    incoming.let_go()
    stream = long[cut:] + long + sent(Opcode.CLOSE, b"\x03\xe8")
    for at in range(0, len(stream), 1000):
        assert protocol.close_rcvd is None
        incoming.pass_over(stream[at : at + 1000])
        assert incoming.kept <= 14
    assert protocol.close_rcvd is not None


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_messages_go_out_as_the_library_frames_them(length: int, binary: bool) -> None:
    frame = Frame(Opcode.BINARY if binary else Opcode.TEXT, b"z" * length)
    ours = framed(b"z" * length, binary=binary, framing=PLAIN)
    assert ours == frame.serialize(mask=False)
