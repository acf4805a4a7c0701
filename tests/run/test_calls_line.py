"""A line: every frame arrives once and in order, whatever becomes of its connections."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Sequence

import pytest

from sweepfleet.run.calls.line import Buffer, Line, SocketConnection, hear, tell

WAIT_S = 60.0


class Breaking(SocketConnection):
    """A connection that breaks after so many bytes, in the middle of whatever is written."""

    def __init__(self, stream: socket.socket, *, after_bytes: int) -> None:
        super().__init__(stream)
        self._left = after_bytes

    def write(self, buffers: Sequence[Buffer]) -> None:
        data = b"".join(buffers)
        if len(data) > self._left:
            super().write([data[: self._left]])
            self.close()
            raise OSError("it broke")
        self._left -= len(data)
        super().write([data])


def joined(one: Line, other: Line, *, after_bytes: Sequence[int]) -> None:
    """Carry frames over a new connection until it breaks, as two processes do that find each other again."""
    ours, theirs = socket.socketpair()
    received = one.received, other.received
    ends = [Breaking(ours, after_bytes=after_bytes[0]), Breaking(theirs, after_bytes=after_bytes[1])]
    far = threading.Thread(target=other.carry, args=[ends[1]], kwargs={"their_received": received[0]})
    far.start()
    near = threading.Thread(target=one.carry, args=[ends[0]], kwargs={"their_received": received[1]})
    near.start()
    while near.is_alive() and not (one.all_confirmed(0.01) and other.all_confirmed(0.01)):
        pass
    ends[0].close()
    near.join(WAIT_S)
    assert not near.is_alive()
    far.join(WAIT_S)
    assert not far.is_alive()


@pytest.mark.parametrize("seed", range(8))
def test_every_frame_arrives_once_and_in_order_over_connections_that_break(seed: int) -> None:
    chance = random.Random(seed)
    sides: list[list[bytes]] = [[], []]
    one = Line(lambda frame: sides[0].append(bytes(frame)))
    other = Line(lambda frame: sides[1].append(bytes(frame)))
    sent: list[list[bytes]] = [[], []]

    def send(count: int) -> None:
        for line, kept in ((one, sent[1]), (other, sent[0])):
            for _ in range(count):
                parts = [chance.randbytes(chance.choice((0, 1, 300, 20_000))) for _ in range(chance.randrange(3))]
                kept.append(b"".join(parts))
                line.send(*parts)

    breaks = 0
    send(20)
    while len(sides[0]) < 100 or len(sides[1]) < 100:
        joined(one, other, after_bytes=[chance.randrange(1, 100_000), chance.randrange(1, 100_000)])
        breaks += 1
        if len(sent[0]) < 100:
            send(20)
    assert breaks > 5
    assert sides == sent


def test_what_is_confirmed_is_kept_no_longer_and_a_line_that_ends_says_so_after_its_last_frame() -> None:
    got: list[bytes] = []
    one, other = Line(lambda _: None), Line(lambda frame: got.append(bytes(frame)))
    ours, theirs = socket.socketpair()
    far = threading.Thread(target=other.carry, args=[SocketConnection(theirs)], kwargs={"their_received": 0})
    near = threading.Thread(target=one.carry, args=[SocketConnection(ours)], kwargs={"their_received": 0})
    near.start()
    far.start()
    one.send(b"a", b"b" * 100_000)
    assert one.all_confirmed(WAIT_S)
    one.send(b"c")
    one.end()
    for thread in (far, near):
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert got == [b"a" + b"b" * 100_000, b"c"]
    assert other.ended
    assert not one.ended


def test_large_frames_both_ways_at_once_do_not_wait_for_each_other() -> None:
    """Each end writes more than any pipe holds before it has read: the one that reads never waits for a writer."""
    sizes: list[int] = []
    both = threading.Barrier(3)

    def deliver(frame: memoryview) -> None:
        sizes.append(len(frame))
        both.wait(WAIT_S)

    one, other = Line(deliver), Line(deliver)
    for line in (one, other):
        line.send(bytes(20 << 20))
    ours, theirs = socket.socketpair()
    for line, stream in ((one, ours), (other, theirs)):
        threading.Thread(
            target=line.carry, args=[SocketConnection(stream)], kwargs={"their_received": 0}, daemon=True
        ).start()
    both.wait(WAIT_S)
    assert sizes == [20 << 20] * 2
    assert one.all_confirmed(WAIT_S)
    assert other.all_confirmed(WAIT_S)
    ours.close()


def test_a_silent_connection_counts_as_broken() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        Line(lambda _: None).carry(SocketConnection(ours, silent_s=0.05), their_received=0)


def test_what_is_said_at_the_start_is_heard_and_anything_else_is_no_line() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        tell(SocketConnection(ours), session="a", received=3)
        assert hear(SocketConnection(theirs)) == {"session": "a", "received": 3}
        ours.sendall(b"SSH-2.0-OpenSSH_9.2 and more\r\n")
        with pytest.raises(ValueError, match="no line"):
            hear(SocketConnection(theirs))
