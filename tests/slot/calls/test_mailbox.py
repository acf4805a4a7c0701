"""What a child has finished outlives it; what it has not begun is the owner's again."""

import os

import pytest

from sweepfleet.slot.calls.batch import Outcome, Pickled
from sweepfleet.slot.calls.mailbox import Mailbox, append, open_mailbox, records
from sweepfleet.slot.calls.tokens import MOST, Tokens, take

OUTCOMES = [
    Outcome(3, Pickled(b"abc"), wall_s=0.5, started=7.0),
    Outcome(4, Pickled(b"", [b"x" * 100_000, b""]), raised=True, attempts=2, key="0123"),
    *[Outcome(number, Pickled(bytes(number % 7), [b"y"] * 600)) for number in range(5, 9)],
]


def plain(outcomes):
    return [
        (o.index, bytes(o.value.data), [bytes(b) for b in o.value.outside], o.raised, o.wall_s, o.key, o.attempts)
        for o in outcomes
    ]


@pytest.mark.parametrize("in_memory", [True, False])
def test_outcomes_are_collected_once_each_and_the_mailbox_can_be_used_again(tmp_path, in_memory):
    fd = open_mailbox(None if in_memory else tmp_path / "0.mailbox")
    mailbox = Mailbox(fd)
    assert mailbox.collect() == []
    for _ in range(2):
        append(fd, OUTCOMES[0])
        assert plain(mailbox.collect()) == plain(OUTCOMES[:1])
        for each in OUTCOMES[1:]:
            append(fd, each)
        assert plain(mailbox.collect()) == plain(OUTCOMES[1:])
        assert mailbox.collect() == []
        mailbox.empty()
    os.close(fd)


def test_a_record_that_was_cut_off_is_not_there(tmp_path):
    path = tmp_path / "0.mailbox"
    fd = open_mailbox(path)
    for each in OUTCOMES:
        append(fd, each)
    os.close(fd)
    data = path.read_bytes()
    counts = set()
    for size in [*range(300), *range(len(data) - 800, len(data) + 1)]:
        found, used = records(memoryview(data[:size]))
        assert plain(found) == plain(OUTCOMES[: len(found)])
        assert used <= size
        counts.add(len(found))
    assert counts == {0, 1, len(OUTCOMES) - 1, len(OUTCOMES)}


def test_each_token_goes_to_the_child_or_back_to_the_owner():
    tokens = Tokens()
    tokens.give(MOST)
    taken = sum(take(tokens.read_fd) for _ in range(1000))
    assert (taken, tokens.left()) == (1000, MOST - 1000)
    assert tokens.take_back() == MOST - 1000
    assert not take(tokens.read_fd)
    assert tokens.take_back() == 0
    tokens.give(1)
    assert take(tokens.read_fd)
    tokens.close()
