"""A command that must not be killed halfway gets each signal once, wherever it came from, and is waited for."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.stack import foreground
from tests.cloud.engine import REPOSITORY
from tests.cloud.rehearsal.cloud import until

DEADLINE_S = 60
# Writes each signal to a file, and ends when it is told to: a second late signal would be seen.
COMMAND = """
import os, signal, sys, time
from pathlib import Path
seen = Path("seen")
def note(number, _):
    with seen.open("a") as file:
        file.write(f"{signal.Signals(number).name}\\n")
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
printed = 0
while not Path("go").exists():
    print("works", flush=True)
    printed += 1
    Path("printed.new").write_text(f"{printed} {os.getpgrp()}")
    os.replace("printed.new", "printed")
    Path("started").touch()
    time.sleep(0.05)
print("all done", flush=True)
print("an error", file=sys.stderr, flush=True)
Path("ended").touch()
sys.exit(7)
"""
# Whatever signals whoever runs the tests ignores, as under nohup.
CALLER = """
import json, os, signal, sys
from pathlib import Path
from sweepfleet.fleet.stack import foreground
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN if number == {ignored} else signal.SIG_DFL)
words = [sys.executable, "-c", Path("command").read_text()]
done = foreground.{call}
Path("returned").write_text(json.dumps([done.returncode, done.stderr, list(done.signals)]))
"""
SHOWN = 'shown(words, cwd=Path("."), env=os.environ, notice="It is waited for.")'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "command").write_text(COMMAND)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    yield tmp_path
    (tmp_path / "go").touch()  # no command stays behind


def caller(call: str, *, ignored: int = 0) -> list[str]:
    return [sys.executable, "-c", CALLER.format(call=call, ignored=ignored)]


@contextlib.contextmanager
def running(place: Path, call: str, *, ignored: int = 0, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that calls it; both end with the test, however that ends."""
    with subprocess.Popen(caller(call, ignored=ignored), cwd=place, **options) as one:
        try:
            yield one
        except BaseException:
            one.kill()  # the command may wait for it
            raise
        finally:
            (place / "go").touch()


def exists(file: Path) -> None:
    until(file.exists, what=file.name, timeout_s=DEADLINE_S)


def seen(place: Path) -> list[str]:
    return (place / "seen").read_text().split() if (place / "seen").exists() else []


@pytest.mark.parametrize(
    ("sent", "passed_on"), [(signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGTERM")]
)
def test_a_signal_to_this_process_alone_is_passed_on(place: Path, sent: signal.Signals, passed_on: str) -> None:
    with running(place, SHOWN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        exists(place / "started")
        one.send_signal(sent)
        until(lambda: seen(place) == [passed_on], what="the first signal", timeout_s=DEADLINE_S)
        one.send_signal(sent)
        until(lambda: seen(place) == [passed_on] * 2, what="the second signal", timeout_s=DEADLINE_S)
        (place / "go").touch()
        out, err = one.communicate(timeout=DEADLINE_S)
    assert "all done" in out
    assert err == "It is waited for.\nan error\n"
    assert (place / "returned").read_text() == f'[7, "an error\\n", [{sent}, {sent}]]'


def printed(place: Path) -> tuple[int, int]:
    """How often the command has printed something, and its process group."""
    count, group = (place / "printed").read_text().split()
    return int(count), int(group)


def test_a_signal_to_the_whole_group_comes_once(place: Path) -> None:
    """As a terminal's Ctrl-C does where the output goes elsewhere: the command is in another group.

    Two signals at once may be seen as one, so that their number alone would prove nothing.
    """
    with running(place, SHOWN, stdout=subprocess.PIPE, process_group=0) as one:
        exists(place / "started")
        groups = printed(place)[1], os.getpgid(one.pid)
        os.killpg(one.pid, signal.SIGINT)
        until(lambda: seen(place) == ["SIGINT"], what="the signal", timeout_s=DEADLINE_S)
        (place / "go").touch()
        one.communicate(timeout=DEADLINE_S)
    assert groups[0] != groups[1]
    assert seen(place) == ["SIGINT"]


def test_a_reader_that_goes_away_does_not_end_it(place: Path) -> None:
    """In `inv up | tee log`, Ctrl-C ends tee, too. Nor does it wait for room for what nobody reads."""
    (place / "command").write_text(COMMAND.replace('"works"', '"works" * 10_000'))
    with running(place, SHOWN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as one:
        exists(place / "started")
        assert one.stdout is not None
        one.stdout.close()
        then = printed(place)[0]
        until(lambda: printed(place)[0] > then + 5, what="it prints on", timeout_s=DEADLINE_S)
        one.send_signal(signal.SIGINT)
        until(lambda: seen(place) == ["SIGINT"], what="the signal", timeout_s=DEADLINE_S)
        (place / "go").touch()
        one.wait(DEADLINE_S)
    assert (place / "ended").exists()


@pytest.mark.parametrize(
    "call",
    [
        "captured(words, cwd=Path('.'), env=os.environ)",
        "lines(words, cwd=Path('.'), env=os.environ, say=print, notice='It is waited for.')",
    ],
)
def test_a_call_whose_output_is_taken_gets_it_too(place: Path, call: str) -> None:
    with running(place, call) as one:
        exists(place / "started")
        one.send_signal(signal.SIGINT)
        until(lambda: seen(place) == ["SIGINT"], what="the signal", timeout_s=DEADLINE_S)
        (place / "go").touch()
        one.wait(DEADLINE_S)
    code, _, signals = json.loads((place / "returned").read_text())
    assert (code, signals) == (7, [signal.SIGINT])


def test_without_a_terminal_the_command_has_no_input(place: Path) -> None:
    """What a script has for itself to read is not the command's."""
    (place / "command").write_text("import sys; from pathlib import Path; Path('read').write_text(sys.stdin.read())")
    with running(place, SHOWN, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as one:
        one.communicate(b"yes\n", timeout=DEADLINE_S)
    assert (place / "read").read_text() == ""


def test_a_signal_that_is_ignored_here_is_not_passed_on(place: Path) -> None:
    """As with nohup, or in the background of a script."""
    with running(place, SHOWN, ignored=signal.SIGINT, stdout=subprocess.PIPE) as one:
        exists(place / "started")
        one.send_signal(signal.SIGINT)
        one.send_signal(signal.SIGTERM)
        until(lambda: "SIGTERM" in seen(place), what="the other signal", timeout_s=DEADLINE_S)
        (place / "go").touch()
        one.communicate(timeout=DEADLINE_S)
    assert seen(place) == ["SIGTERM"]


def test_a_signal_that_came_before_the_command_had_started_is_passed_on() -> None:
    passing = foreground._PassingOn("")
    passing.caught(signal.SIGINT, None)
    with subprocess.Popen(["sleep", "600"]) as process:
        passing.to(process)
        try:
            assert process.wait(DEADLINE_S) == -signal.SIGINT
        finally:
            process.kill()


def test_afterwards_signals_are_this_processs_own_again(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in foreground.PASSED_ON]
    foreground.captured(["true"], cwd=tmp_path, env=os.environ)
    assert [signal.getsignal(number) for number in foreground.PASSED_ON] == before


def test_beside_the_main_thread_it_runs_without_signals(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(foreground.captured, ["echo", "one"], cwd=tmp_path, env=os.environ).result()
    assert done.stdout == "one\n"


def test_output_that_is_read_slowly_comes_whole(place: Path) -> None:
    """Also where a write to it does not wait until there is room."""
    size = 1 << 20
    (place / "command").write_text(f"print('x' * {size}, end='')")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with running(place, SHOWN, stdout=writer) as one:
        os.close(writer)
        until(lambda: waiting(reader) == fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ), what="it is full", timeout_s=60)
        with os.fdopen(reader, "rb") as file:
            assert len(file.read()) == size
        assert one.wait(DEADLINE_S) == 0


def waiting(reader: int) -> int:
    """How many bytes can be read."""
    [found] = struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))
    return int(found)


def test_lines_come_as_they_are_printed(tmp_path: Path) -> None:
    said: list[str] = []
    words = ["sh", "-c", "echo one; echo two >&2; exit 3"]
    done = foreground.lines(words, cwd=tmp_path, env=os.environ, say=said.append, notice="")
    assert (said, done.returncode, done.stdout) == (["one", "two"], 3, "one\ntwo\n")


ON_TERMINAL = """
import os, signal, sys, termios, tty
from pathlib import Path
from sweepfleet.fleet.stack import foreground
before = termios.tcgetattr(0)
words = [sys.executable, "-c", Path("command").read_text()]
done = foreground.shown(words, cwd=Path("."), env=os.environ, notice="no notice is needed")
after = termios.tcgetattr(0)
Path("returned").write_text(f"{done.returncode} {done.signals} {before == after} {os.tcgetpgrp(0) == os.getpgrp()}")
"""
RAW = "import tty; tty.setraw(0)\n"


@pytest.mark.parametrize("mode", ["", RAW])
def test_on_a_terminal_the_command_is_its_foreground_and_the_terminal_comes_back(place: Path, mode: str) -> None:
    """Ctrl-Z does not stop it, Ctrl-C goes to it alone; as raw keys, where it reads those."""
    (place / "command").write_text(mode + COMMAND)
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.chdir(place)
        os.execv(sys.executable, [sys.executable, "-c", ON_TERMINAL])
    exists(place / "started")
    os.write(terminal, b"\x1a\x03")
    if mode:  # the keys are the command's own; end it in raw mode
        (place / "go").touch()
    else:
        until(lambda: seen(place) == ["SIGINT"], what="the signal", timeout_s=DEADLINE_S)
        (place / "go").touch()
    said = _read(terminal)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert seen(place) == ([] if mode else ["SIGINT"])
    assert "all done" in said
    assert "no notice is needed" not in said
    assert (place / "returned").read_text() == "7 () True True"


@pytest.mark.parametrize("shell", [(), ("/bin/sh", "-c", '"$@"; true', "sh")])
def test_a_terminal_that_is_closed_does_not_end_the_command_at_once(place: Path, shell: tuple[str, ...]) -> None:
    """This process, where the terminal's session is its own, has the command finish what is in flight.

    Below a shell, that gets the signal and ends, upon which the system sends it to the foreground: the command.
    """
    silent = [line for line in COMMAND.splitlines() if "print(" not in line]
    (place / "command").write_text("\n".join(silent))
    words = [*shell, *caller(SHOWN)]
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.chdir(place)
        os.execv(words[0], words)
    exists(place / "started")
    os.close(terminal)
    returned = place / "returned"
    if shell:
        os.waitpid(pid, 0)
        then = printed(place)[0]
        until(lambda: printed(place)[0] > then + 1 or returned.exists(), what="it works on", timeout_s=DEADLINE_S)
    else:
        until(lambda: seen(place) or returned.exists(), what="the signal", timeout_s=DEADLINE_S)
    (place / "go").touch()
    exists(returned)
    assert (place / "ended").exists()
    assert seen(place) == ([] if shell else ["SIGTERM"])
    assert json.loads(returned.read_text()) == [7, "", [] if shell else [signal.SIGHUP]]
    if not shell:
        os.waitpid(pid, 0)


def test_in_the_background_it_leaves_the_terminal_to_the_shell(place: Path) -> None:
    words = ["/bin/sh", "-c", 'set -m; "$@" & wait', "sh", *caller(SHOWN)]
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.chdir(place)
        os.execv(words[0], words)
    exists(place / "started")
    until(lambda: printed(place)[0] > 1, what="it works", timeout_s=DEADLINE_S)
    assert os.tcgetpgrp(terminal) == pid
    (place / "go").touch()
    exists(place / "returned")
    os.waitpid(pid, 0)
    os.close(terminal)


def _read(terminal: int) -> str:
    said = b""
    try:
        while chunk := os.read(terminal, 4096):
            said += chunk
    except OSError:  # it has been closed on the other side
        pass
    return said.decode()
