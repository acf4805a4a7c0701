"""The head stops itself, as root, when nothing has needed it for `headIdleStop`.

Whatever needs it starts it again (`fleet.stack.awake`). Nobody who comes while it goes down is lost: new logins are
refused and the letterbox is stopped before the last look, and who is refused waits and starts it.
Stopping costs nothing of AWS's: the instance shuts down, and EC2 stops one that does.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.grid.wording import counted
from sweepfleet.machine.aws import Aws, AwsError, Group
from sweepfleet.machine.facts import GOING_TO_SLEEP, IDLE_STOP_TAG, KEYS, UP, Data, Facts
from sweepfleet.machine.head.keeper import UPTIME, held
from sweepfleet.machine.head.letterbox import open_letters
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import active_jobs
from sweepfleet.machine.session import KINDS
from sweepfleet.run.text import duration

LOOK_EVERY_S = 10.0
ASK_EVERY_S = 60.0  # AWS, for the workers and the setting: a start of `aws`, half a second of processor time
PROC = Path("/proc")
NOLOGIN = Path("/run/nologin")  # man 5 nologin: while it is there, sshd lets in nobody but root
REFUSAL = "The head is going to sleep. It is started again by the next command that needs it.\n"
LETTERBOX = "sweepfleet-letterbox.service"


@dataclass(slots=True)
class Clock:
    """Since when nothing has needed the head, in seconds since its boot."""

    since_s: float

    def note(self, needs: list[str], *, now_s: float) -> None:
        """Take notice of what needs it now."""
        if needs:
            self.since_s = now_s

    def is_over(self, after_s: float | None, *, now_s: float) -> bool:
        """Whether that is so long; never where there is no limit."""
        return after_s is not None and now_s - self.since_s >= after_s


def needs_here(data: Data, *, is_active: Callable[[str], bool], proc: Path) -> Iterator[str]:
    """What needs the head now, as far as this machine itself knows."""
    jobs = [job.path.name for job in active_jobs(data.jobs)] if data.jobs.is_dir() else []
    if jobs:
        yield f"active: {', '.join(jobs)}"
    for kind in KINDS:
        if is_active(f"sweepfleet-{kind}.service"):
            yield f"a {kind}"
    if workers := held(data):
        yield f"{counted(workers, 'worker')} kept by inv start"
    if logins := len(list(ssh_sessions(proc))):
        yield counted(logins, "login")


def ssh_sessions(proc: Path) -> Iterator[str]:
    """The connections to sshd, also those that are just being let in, by their processes."""
    for file in proc.glob("[0-9]*/cmdline"):
        try:
            title = file.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it has ended
            continue
        # Of a connection: "sshd: admin [priv]", "sshd-session: admin@pts/0". The listener has its command line in it.
        if title.startswith(("sshd: ", "sshd-session: ")) and "[listener]" not in title:
            yield title


def needs_of_workers(group: Group) -> Iterator[str]:
    """The workers that there are, or are to be."""
    if workers := max(group.size, len(group.members)):
        yield counted(workers, "worker")


def serve(facts: Facts) -> None:
    """Look, for ever; stop the machine when it is time."""
    data, aws = Data(Path(facts.data)), door(facts)
    NOLOGIN.unlink(missing_ok=True)  # of a stop that did not come
    clock = Clock(_uptime_s())
    after_s: float | None = None
    asked_s, said = float("-inf"), ""
    is_told = False
    while True:
        try:
            if not is_told:
                tell(aws, UP)
                is_told = True
            now_s = _uptime_s()
            needs = list(needs_here(data, is_active=_is_active, proc=PROC))
            if not needs and now_s - asked_s >= ASK_EVERY_S:
                group = aws.group()
                needs, after_s, asked_s = list(needs_of_workers(group)), limit_of(group), now_s
            clock.note(needs, now_s=now_s)
            if clock.is_over(after_s, now_s=now_s):
                for why in stop(aws, data, idle_s=now_s - clock.since_s):
                    print(f"the head stays up after all: {why}", flush=True)
                clock.since_s = _uptime_s()
            said = ""
        except AwsError as error:  # it stays up: what is not known needs it
            if str(error) != said:
                print(error, flush=True)
            said = str(error)
        time.sleep(LOOK_EVERY_S)


def limit_of(group: Group) -> float | None:
    """`headIdleStop` in seconds, as the stack has it now; None: the head stays up."""
    text = group.tags.get(IDLE_STOP_TAG, "")
    return float(text) if text.isascii() and text.isdigit() else None


def stop(aws: Aws, data: Data, *, idle_s: float) -> list[str]:
    """Shut down, unless something needs the head now; returns what does.

    Nobody is let in and no letter is taken during the last look, so that what comes then is not begun and cut off.

    Raises:
        AwsError: AWS does not answer, so nobody knows.
    """
    NOLOGIN.write_text(REFUSAL)
    try:
        needs = [*needs_here(data, is_active=_is_active, proc=PROC), *needs_of_workers(aws.group())]
        if not needs and not open_letters(aws):  # one that is being done is open still
            _systemctl("stop", LETTERBOX)
            needs = [*needs_here(data, is_active=_is_active, proc=PROC)]
        if letters := open_letters(aws):
            needs.append(counted(letters, "request"))
        if not needs:
            tell(aws, GOING_TO_SLEEP)
            print(f"nothing has needed the head for {duration(idle_s)} (headIdleStop): it stops itself", flush=True)
            _systemctl("poweroff")
            while True:  # until the shutdown ends this process
                time.sleep(60)
    finally:
        NOLOGIN.unlink(missing_ok=True)
        _systemctl("start", "--no-block", LETTERBOX)
    return needs


def tell(aws: Aws, word: str) -> None:
    """Say in the bucket whether the head is up: who cannot connect learns so whether to wait. Raises AwsError."""
    with TemporaryDirectory() as folder:
        note = Path(folder, "head.json")
        note.write_text(json.dumps({"state": word, "at": time.time()}) + "\n")
        aws.put(note, KEYS.head)


def _is_active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0


def _systemctl(*words: str) -> None:
    subprocess.run(["systemctl", *words], check=True)


def _uptime_s() -> float:
    return float(UPTIME.read_text().split()[0])


if __name__ == "__main__":
    serve(Facts.read())
