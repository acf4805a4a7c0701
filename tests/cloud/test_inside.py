"""Programs that are started in a rehearsal, and waiting for things there; these need no cloud for it."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.cloud.rehearsal.cloud import until
from tests.cloud.rehearsal.inside import ENVIRONMENT, Runner
from tests.processes import ended_afterwards

SLEEP = ("sleep", "1000")


def test_what_a_failed_test_left_is_ended_and_what_was_there_before_is_not() -> None:
    here = Runner((), ENVIRONMENT)
    left: list[subprocess.Popen[bytes]] = []

    def fails() -> None:
        with ended_afterwards():
            left.append(here.popen(SLEEP, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert left[0].poll() is not None, "the test fails"

    lasting = here.popen(SLEEP)
    try:
        with pytest.raises(AssertionError, match="the test fails"):
            fails()
        assert left[0].returncode == -signal.SIGKILL, "it was waited for"
        assert [stream and stream.closed for stream in (left[0].stdin, left[0].stdout)] == [True, True]
        assert lasting.poll() is None
    finally:
        for each in (lasting, *left):
            each.kill()
            each.wait()


def test_what_was_waited_for_in_vain_is_told_with_what_there_is() -> None:
    with pytest.raises(AssertionError, match=r"(?s)not within 0 s: a miracle\nthe journal's end$"):
        until(lambda: False, what="a miracle", timeout_s=0, tell=lambda: "the journal's end\n")
