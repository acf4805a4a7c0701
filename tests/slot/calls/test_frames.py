"""Frames on a byte stream."""

import os
import socket
import threading

import pytest

from sweepfleet.slot.calls.frames import Frame, FrameError, Reader, Writer


@pytest.fixture
def ends():
    reading, writing = socket.socketpair()
    with reading, writing:
        yield reading, writing


def test_a_frame_arrives_as_it_was_sent_however_many_and_large_its_buffers_are(ends):
    buffers = [b"", b"small", bytes(1 << 20), memoryview(b"x" * 100_000)[1:], *([b"y" * 20_000] * 1500)]
    frames = [Frame({"kind": "first", "text": "ä"}, buffers), Frame({"kind": "second"})]
    reader = Reader(ends[0].fileno())

    def write():
        writer = Writer(ends[1].fileno())
        for frame in frames:
            writer.send(frame)
        ends[1].close()

    thread = threading.Thread(target=write)
    thread.start()
    first, second = reader.receive(), reader.receive()
    assert reader.receive() is None
    thread.join()
    assert (first.kind, first.header["text"], second.kind) == ("first", "ä", "second")
    assert [bytes(each) for each in first.buffers] == [bytes(each) for each in buffers]


@pytest.mark.parametrize("cut", [3, 9, 30])
def test_a_stream_that_ends_within_a_frame_is_told_from_one_that_ends_after_it(ends, cut):
    whole, other = os.pipe()
    Writer(other).send(Frame({"kind": "cut"}, [b"0123456789"]))
    os.close(other)
    ends[1].send(os.read(whole, 100)[:cut])
    os.close(whole)
    ends[1].close()
    with pytest.raises(FrameError, match="ends within"):
        Reader(ends[0].fileno()).receive()


def test_what_is_no_frame_is_refused(ends):
    ends[1].send(b"Welcome to this machine.\n")
    with pytest.raises(FrameError, match="something else"):
        Reader(ends[0].fileno()).receive()
