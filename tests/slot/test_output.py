"""What points print: kept point by point, bounded while they run, and never taken for anything else."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Target
from sweepfleet.slot.context import Context
from sweepfleet.slot.drain import Budget, Ends, Log
from sweepfleet.slot.output import MARK, Output, Printed
from sweepfleet.slot.records import Packet
from sweepfleet.slot.runner import Runner
from tests.support import context, eventually, grid, outcomes_of

LIMIT_S = 60.0  # for all points of a job to end in it, on a machine that has other things to do


@pytest.fixture(autouse=True)
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell may ask of Python and of C would hide what is to be seen."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def run() -> Iterator[Any]:
    """Run a context's points; none of its processes is left when the test ends."""
    started: list[Runner] = []

    def running(wanted: Context, *spans: tuple[int, int]) -> Packet:
        runner = Runner(wanted, name="host/0")
        started.append(runner)
        packet = Packet.from_bytes(runner.run(spans or [(0, wanted_size(wanted))], limit_s=LIMIT_S))
        assert packet.attempts == sum(stop - start for start, stop in spans or [(0, wanted_size(wanted))])
        return packet

    yield running
    for each in started:
        each.close()


def wanted_size(wanted: Context) -> int:
    return Space(wanted.plan).size


def printed(packet: Packet) -> dict[int, str]:
    """What each point of a packet printed, by index; only those that printed."""
    indexes = {record.id.hex(): record.point_index for segment in packet.segments for record in segment.rows()}
    return {indexes[id_]: Printed.unpack(data).text for id_, data in packet.outputs.items()}


EVERY_WAY = """\
import ctypes, logging, os, subprocess, sys, warnings

log = logging.getLogger("mine")

def fit(a):
    print("out", a)
    print("err", a, file=sys.stderr)
    warnings.warn(f"doubtful")
    log.warning("logged %d", a)
    sys.stdout.buffer.write(b"bytes \\xff\\n")
    print("\\udcff half a pair")
    os.write(1, b"raw\\n")
    subprocess.run(["echo", "program"])
    ctypes.CDLL(None).printf(b"native")
    print("no newline", end="")
    return a
"""


def test_whatever_way_a_point_prints_it_is_kept_with_its_point_in_the_order_of_printing(
    tmp_path: Path, run: Any
) -> None:
    """Both streams, warnings of every point, logging, bytes, programs and C code."""
    packet = run(context(tmp_path, EVERY_WAY, grid({"a": range(3)})))
    assert [index for index, _ in outcomes_of(packet)] == [0, 1, 2]
    for index, text in printed(packet).items():
        assert text.splitlines() == [
            f"out {index}",
            f"err {index}",
            f"{tmp_path}/fit.py:8: UserWarning: doubtful",
            '  warnings.warn(f"doubtful")',
            f"logged {index}",
            "bytes \\xff",
            "\\udcff half a pair",
            "raw",
            "program",
            "nativeno newline" if text.endswith("no newline") else "no newlinenative",
        ]
    assert set(printed(packet)) == {0, 1, 2}


def test_points_that_print_nothing_have_nothing_and_neighbours_keep_their_own(tmp_path: Path, run: Any) -> None:
    """Of 3,000 points far shorter than a millisecond, each that prints has its own line, and no other has one."""
    code = """\
    def fit(a):
        if a % 7 == 0:
            print("point", a)
        if a % 31 == 0:
            raise ValueError(a)
        return a
    """
    packet = run(context(tmp_path, code, grid({"a": range(3000)})))
    assert printed(packet) == {a: f"point {a}\n" for a in range(0, 3000, 7)}


@pytest.mark.parametrize(
    ("code", "index", "text"),
    [
        ("import os\ndef fit(a):\n    print('last words', a)\n    if a == 1: os._exit(3)\n", 1, "last words 1\n"),
        (
            "import time\ndef fit(a):\n    print('step', a)\n    if a == 1: time.sleep(3600)\n",
            1,
            "step 1\nCurrent thread",
        ),
        ("import os\ndef fit(a):\n    print('x', a)\n    if a == 1: os.abort()\n", 1, "x 1\nFatal Python error"),
        ("import sys\ndef fit(a):\n    print('bye')\n    if a == 1: sys.exit('enough')\n", 1, "bye\n"),
    ],
)
def test_a_point_that_ends_its_process_keeps_what_it_had_printed(
    tmp_path: Path, run: Any, code: str, index: int, text: str
) -> None:
    """So do the points before and after it."""
    packet = run(context(tmp_path, code + "    return a\n", grid({"a": range(3)}), timeout_s=1.0))
    found = printed(packet)
    assert found[index].startswith(text)
    assert set(found) == {0, 1, 2}


def test_a_flood_is_bounded_and_keeps_its_beginning_and_its_end(tmp_path: Path, run: Any) -> None:
    """While it runs no file grows: standard output is a pipe, and what is not kept is gone."""
    code = """\
    import os, sys
    def fit(a):
        print("first")
        for _ in range(50):
            print("z" * 1_000_000)
        print("last", file=sys.stderr)
        return {"size": os.fstat(1).st_size + os.fstat(2).st_size}
    """
    packet = run(context(tmp_path, code, grid({"a": [1]}), log_bytes=1000))
    assert outcomes_of(packet) == [(0, {"size": 0})]
    (data,) = packet.outputs.values()
    kept = Printed.unpack(data)
    assert len(kept.head) == len(kept.tail) == 500
    assert kept.size == len("first\n") + 50 * 1_000_001 + len("last\n")
    assert kept.text.startswith("first\nzzz")
    assert kept.text.endswith("zzz\nlast\n")
    assert f"\n... {kept.dropped:,} bytes dropped ...\n" in kept.text


def test_what_is_printed_at_import_is_no_points(tmp_path: Path, run: Any) -> None:
    """It comes once a process, and would stand with whichever point came first."""
    code = "print('importing ' * 100_000)\ndef fit(a):\n    print(a)\n    return a\n"
    assert printed(run(context(tmp_path, code, grid({"a": [5, 6]})))) == {0: "5\n", 1: "6\n"}


def test_nothing_is_kept_where_nothing_is_wanted_but_a_crash_has_its_words(tmp_path: Path, run: Any) -> None:
    """`execution.log: none`."""
    code = "import os\ndef fit(a):\n    print('no licence')\n    if a == 1: os._exit(4)\n    return a\n"
    packet = run(context(tmp_path, code, grid({"a": range(3)}), log_bytes=None))
    assert packet.outputs == {}
    assert "no licence" in dict(outcomes_of(packet))[1][1]


@pytest.mark.parametrize(
    "harm",
    [
        "sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None",
        "sys.stdout.close(); sys.stderr.close()",
        "os.close(1)",
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)",
        "sys.stdout.detach()",
        "sys.stdout.buffer.close()",
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='latin-1')",
        "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='latin-1'); print('in latin')",
        "sys.stdout = io.StringIO()",
        "sys.stdout.reconfigure(line_buffering=False, encoding='ascii')",
        "os.set_blocking(1, False)",
    ],
)
def test_a_point_that_takes_its_streams_apart_still_has_what_it_printed_before(
    tmp_path: Path, run: Any, harm: str
) -> None:
    """And is done, as are all others; the next point finds streams that are whole."""
    code = f"""\
    import io, os, sys
    def fit(a):
        if a == 1:
            print("before")
            {harm}
        if a == 2:
            print("next")
        return a
    """
    packet = run(context(tmp_path, code, grid({"a": range(4)})))
    assert outcomes_of(packet) == [(index, {"value": index}) for index in range(4)]
    assert printed(packet) == {1: "before\n" + "in latin\n" * harm.count("print"), 2: "next\n"}


def test_a_mark_waits_for_room_in_a_pipe_that_a_program_made_non_blocking() -> None:
    """C code tells nobody that it did so; a mark that is lost would give the text to the next point."""
    output = Output.__new__(Output)
    read_fd, output.fd = os.pipe()
    os.set_blocking(output.fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(output.fd, b"x" * 4096)
    text = b""

    def drain() -> None:
        nonlocal text
        while not text.endswith(b"mark"):
            text += os.read(read_fd, 1 << 16)

    thread = threading.Timer(0.1, drain)
    thread.start()
    output._write(b"mark")
    thread.join()
    assert text.strip(b"x") == b"mark"
    os.close(read_fd)
    os.close(output.fd)


def test_a_line_that_warns_does_so_for_each_point(tmp_path: Path, run: Any) -> None:
    """Python shows a warning once a line and process; here once a line and point."""
    code = "import warnings\ndef fit(a):\n    for _ in range(3): warnings.warn('doubtful')\n    return a\n"
    found = printed(run(context(tmp_path, code, grid({"a": range(3)}))))
    assert [text.count("UserWarning: doubtful") for text in found.values()] == [1, 1, 1]


def test_a_forked_copy_prints_for_its_point(tmp_path: Path, run: Any) -> None:
    """multiprocessing's workers have the same pipe."""
    code = """\
    import multiprocessing
    def say(x):
        print("copy", x, flush=True)
        return x
    def fit(a):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(say, [a, a])
        return a
    """
    packet = run(context(tmp_path, code, grid({"a": range(2)})))
    found = {index: text.splitlines() for index, text in printed(packet).items()}
    assert found == {0: ["copy 0"] * 2, 1: ["copy 1"] * 2}


def test_what_does_not_fit_the_packet_is_marked_as_not_kept_and_failures_come_first(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A done point's text is dropped before a failed one's."""
    monkeypatch.setattr("sweepfleet.slot.runner.Budget", lambda: Budget(done=3000, failed=10_000))
    code = "import os\ndef fit(a):\n    print(os.urandom(1000).hex())\n    if a > 4: raise ValueError\n    return a\n"
    packet = run(context(tmp_path, code, grid({"a": range(6)})))
    kept = {i: Printed.unpack(d) for i, d in zip(range(6), packet.outputs.values(), strict=True)}
    assert [kept[index].kept for index in range(6)] == [True, True, False, False, False, True]
    assert {one.size for one in kept.values()} == {2001}
    assert kept[3].text == "(2,001 bytes were printed; they were not kept)"


COMMAND = Target(command=("sh", "-c", "{script}"))


def test_both_streams_of_a_command_are_kept_and_its_result_is_found(tmp_path: Path, run: Any) -> None:
    """A failing one's too; and a program that it leaves in the background is not waited for."""
    scripts = [
        "echo one; echo two >&2; echo 7",
        "echo before; echo why >&2; exit 3",
        "sleep 3600 & echo 5",
        "exec >&- 2>&-; sleep 0.1; exit 4",
        "kill -9 $$",
    ]
    packet = run(context(tmp_path, "", grid({"script": scripts}), target=COMMAND))
    found = dict(outcomes_of(packet))
    assert (found[0], found[2]) == ({"value": 7}, {"value": 5})
    assert "exited with 3\nwhy" in found[1][1]
    assert "exited with 4" in found[3][1]
    assert "killed by signal 9" in found[4][1]
    text = printed(packet)
    assert sorted(text.pop(0).splitlines()) == ["7", "one", "two"]
    assert sorted(text.pop(1).splitlines()) == ["before", "why"]
    assert text == {2: "5\n"}


def test_a_commands_flood_is_bounded_while_it_runs(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result at the end is found, and no file is written."""
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    script = "echo first; head -c 100000000 /dev/zero | tr '\\0' z; "
    script += 'echo; size=$(stat -L -c %s /proc/$$/fd/1); echo "{\\"size\\": $size}"'
    packet = run(context(tmp_path, "", grid({"script": [script]}), target=COMMAND, artifacts=str(tmp_path / "a")))
    assert outcomes_of(packet) == [(0, {"size": 0})]
    assert printed(packet)[0].startswith("first\nzzz")
    assert printed(packet)[0].endswith('zzz\n{"size": 0}\n')


def test_a_command_that_floods_from_the_background_is_not_waited_for(tmp_path: Path, run: Any) -> None:
    packet = run(context(tmp_path, "", grid({"script": ["yes & echo 3; sleep 0.1; echo 4"]}), target=COMMAND))
    ((index, outcome),) = outcomes_of(packet)
    assert index == 0
    assert outcome == {"value": 4} or outcome[0] == "CommandFailedError", "what it printed last is what counts"


def test_a_python_command_that_is_timed_out_has_said_what_it_had_to_say(tmp_path: Path, run: Any) -> None:
    (tmp_path / "hang.py").write_text("import time\nprint('step 1')\ntime.sleep(3600)\n")
    target = Target(command=(sys.executable, "hang.py", "{a}"))
    packet = run(context(tmp_path, "", grid({"a": [1]}), target=target, timeout_s=3.0))
    assert outcomes_of(packet)[0][1][0] == "Timeout"
    assert printed(packet) == {0: "step 1\n"}


# The owner's side alone.


def test_marks_are_found_however_the_pipe_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text and marks in chunks of any sizes come out point by point; text that resembles a mark stays text."""
    rng = random.Random(7)
    for size in (1, 2, 5, 16, 20, 21, 22, 37, 64, 10_000):
        log = Log()
        log.keep(200)
        try:
            texts = [rng.choice([b"", b"a\n", b"\0", log.token[:9], b"x" * rng.randrange(150)]) for _ in range(300)]
            marks = [MARK.pack(log.token, number, 0) for number in range(300)]
            stream = b"".join(itertools.chain.from_iterable(zip(texts, marks, strict=True))) + b"rest\0"
            for at in range(0, len(stream), size):
                os.write(log.write_fd, stream[at : at + size])
                log.read()
            found = log.outputs(301, culprit=True)
            assert {number: b"".join(Printed.unpack(data)[:2]) for number, data in found.items()} == {
                number: text for number, text in enumerate([*texts, b"rest\0"]) if text
            }
            assert set(log.outputs(10, culprit=False)) == {n for n, text in enumerate(texts[:10]) if text}
        finally:
            log.close()
            log.close_write()


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 11])
@pytest.mark.parametrize("size", [0, 1, 5, 10, 11, 12, 100])
def test_the_ends_are_the_first_and_last_bytes(limit: int, size: int) -> None:
    data = bytes(range(size))
    for step in (1, 3, 1000):
        ends = Ends(limit)
        for at in range(0, size, step):
            ends.add(data[at : at + step])
        kept = ends.printed()
        assert kept.size == size
        assert len(kept.head + kept.tail) == min(limit, size)
        assert data.startswith(kept.head)
        assert data.endswith(kept.tail)


def test_an_idle_child_that_prints_is_read_too(tmp_path: Path) -> None:
    """A process that a point left behind does not wait for us between bundles."""
    log = Log()
    log.keep(100)
    try:
        os.write(log.write_fd, b"x" * 30_000)
        eventually(lambda: log.size == 30_000, "the pipe is read by nobody's call")
    finally:
        log.close_write()
        eventually(lambda: log.ended, "the end of the pipe is seen")
        log.close()


@pytest.mark.parametrize("text", [b"", b"short", b"long " * 1000, "häß€😀".encode() * 50])
def test_what_is_packed_is_unpacked(text: bytes) -> None:
    for kept in (Printed(text), Printed(text, b"end", 17), Printed(b"", b"", 5)):
        assert Printed.unpack(kept.pack()) == kept


def test_a_character_that_the_cut_has_split_is_left_out() -> None:
    whole = "ä€😀".encode()
    for cut in range(len(whole) + 1):
        text = Printed(whole[:cut], whole[cut:], 1).text
        assert "\\x" not in text, cut
    assert Printed(b"a\xff", b"\xffb", 1).text == "a\\xff\n... 1 bytes dropped ...\n\\xffb"


def test_damaged_output_is_told() -> None:
    with pytest.raises(ValueError, match="damaged"):
        Printed.unpack(Printed(b"x" * 1000).pack()[:-5])
    with pytest.raises(ValueError, match="damaged"):
        Printed.unpack(b"")
