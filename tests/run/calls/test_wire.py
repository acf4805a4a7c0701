"""The messages between an Executor's client and its driver."""

import os

import pytest

from sweepfleet.run.calls import wire
from sweepfleet.slot.calls.batch import Call, Failure, Outcome, Pickled
from sweepfleet.slot.calls.frames import Reader, Writer

CALLS = [
    Call(7, "f", Pickled(b"one")),
    Call(3, "g", Pickled(b"", [b"x" * 50_000, b"y"]), key="abc"),
    Call(9, "f", Pickled(b"three", [b""])),
]
OUTCOMES = [
    Outcome(7, Pickled(b"value"), wall_s=0.25),
    Outcome(3, Pickled(b"error", [b"z"]), raised=True, key="abc", attempts=3, started=11.5),
    Outcome(9, Failure("Timeout", "took long"), attempts=2),
]


@pytest.fixture
def sent():
    """A frame as it arrives at the other end."""

    def pass_on(frame):
        read_fd, write_fd = os.pipe()
        Writer(write_fd).send(frame)
        os.close(write_fd)
        found = Reader(read_fd).receive()
        os.close(read_fd)
        return found

    return pass_on


def plain(each):
    value = getattr(each, "arguments", None) or each.value
    if isinstance(value, Pickled):
        value = bytes(value.data), [bytes(buffer) for buffer in value.outside]
    rest = [getattr(each, name) for name in type(each).__slots__ if name not in ("arguments", "value")]
    return rest, value


@pytest.mark.parametrize("calls", [CALLS, CALLS[:1], [Call(n, "f", Pickled(b"%d" % n)) for n in range(2000)], []])
def test_calls_arrive_as_they_were_sent(sent, calls):
    number, found = wire.calls_of(sent(wire.bundle(5, calls)))
    assert number == 5
    assert [plain(each) for each in found] == [plain(each) for each in calls]


@pytest.mark.parametrize("outcomes", [OUTCOMES, OUTCOMES[:1], OUTCOMES[2:], []])
def test_outcomes_arrive_as_they_were_sent(sent, outcomes):
    found = wire.outcomes_of(sent(wire.results(outcomes)))
    assert [plain(each) for each in found] == [plain(each) for each in outcomes]
    assert [each.ok for each in found] == [each.ok for each in outcomes]


@pytest.mark.parametrize("initializer", [None, b"pickled"])
def test_a_hello_arrives_as_it_was_sent_and_what_a_later_version_adds_is_ignored(sent, initializer):
    hello = wire.Hello(run="a", cpus=2, timeout_s=1.5, path=("/x", ""), initializer=initializer)
    frame = hello.frame()
    frame.header["added later"] = 1
    found = wire.Hello.read(sent(frame))
    assert found.initializer is None if initializer is None else bytes(found.initializer) == initializer
    assert [getattr(found, each) for each in ("run", "cpus", "timeout_s", "path", "version")] == [
        "a", 2, 1.5, ("/x", ""), wire.VERSION,
    ]  # fmt: skip
