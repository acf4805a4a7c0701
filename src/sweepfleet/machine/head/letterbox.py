"""The head's letterbox, as root: does what is asked for in the bucket's `inbox/`, and answers in `outbox/`.

So a pipeline needs no way to the head and no SSH key: its role in AWS is all that it has. A letter is
`inbox/<id>.json`, written last, after what goes with it; its answer is `outbox/<id>.json`. A letter is done at least
once: what was done before the answer was written is found done. One that has expired, or is for the cluster that had
this bucket before, is refused; one that cannot be had now is tried again, and holds up no other.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.machine.aws import Aws, AwsError, Stored
from sweepfleet.machine.bring import BringError, bring_release
from sweepfleet.machine.facts import CODE, KEYS, PUSHED_BY, Data, Facts
from sweepfleet.machine.head.letters import MOST_BYTES, PLAIN, Letter, RefusedError, check, read
from sweepfleet.machine.head.publish import EXIT_AGAIN
from sweepfleet.machine.head.take_over import GOES_ON, TAKE_OVER
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import Job, JobFolder

POLL_S = 5.0
REST_S = 30.0  # between two looks when none came for a while: each look is a call that AWS bills
AWAKE_S = 300.0  # after a letter, or a start: a push comes before a sweep
ENVIRONMENT = Path("/etc/sweepfleet/machine.env")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
DONE, FAILED, REFUSED = 0, 1, 2  # as the exit codes of the commands that ask for the same


UV = Path("/usr/local/bin/uv")  # the boot brings it, meanwhile


class LaterError(Exception):
    """A letter cannot be done yet."""


def serve(facts: Facts) -> None:
    """Do what letters ask for, the oldest first, for ever."""
    aws = door(facts)
    answered: set[str] = set()
    awake_s = time.monotonic() + AWAKE_S
    said = ""
    while True:
        before = len(answered)
        try:
            do_all(aws, Data(Path(facts.data)), answered, volume=facts.data_volume)
            said = ""
        except (AwsError, LaterError) as error:
            if str(error) != said:  # once, and not at every look
                print(error, flush=True)
            said = str(error)
        if len(answered) > before:
            awake_s = time.monotonic() + AWAKE_S
        time.sleep(POLL_S if time.monotonic() < awake_s else REST_S)


def do_all(aws: Aws, data: Data, answered: set[str], *, volume: str) -> None:
    """Do every letter that has no answer yet, and note it in `answered`.

    Raises:
        AwsError: the bucket does not answer.
        LaterError: these letters are to be tried again, each with its reason; all others were done.
    """
    letters = _letters(aws)
    if set(letters) <= answered:
        return
    answered |= _answered(aws)
    later = []
    for letter in sorted(set(letters) - answered):
        try:
            code, said = do(aws, data, letter, letters[letter], volume=volume)
            print(f"{letter}: {code} {said}", flush=True)
            _answer(aws, letter, code, said)
        except (AwsError, LaterError) as error:
            later.append(f"{letter}: not done yet: {error}")
        else:
            answered.add(letter)
    if later:
        raise LaterError("\n".join(later))


def open_letters(aws: Aws) -> int:
    """The number of letters that have no answer yet. Raises AwsError: the bucket does not answer."""
    letters = set(_letters(aws))
    return len(letters - _answered(aws)) if letters else 0


def _letters(aws: Aws) -> dict[str, Stored]:
    return {name: one for one in aws.list(KEYS.inbox) if (name := _letter(one))}


def _answered(aws: Aws) -> set[str]:
    return {Path(one.key).stem for one in aws.list(KEYS.outbox) if one.key == KEYS.answer(Path(one.key).stem)}


def _answer(aws: Aws, letter: str, code: int, said: str) -> None:
    with TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        answer.write_text(json.dumps({"exit_code": code, "said": said}) + "\n")
        aws.put(answer, KEYS.answer(letter))


def do(aws: Aws, data: Data, letter: str, stored: Stored, *, volume: str) -> tuple[int, str]:
    """Do what one letter asks for; an exit code and what is to be said. Raises AwsError, LaterError: again, later."""
    try:
        asked = _read(aws, letter, stored)
        check(asked, volume=volume, stored=stored.changed, now=aws.now())
        if asked.kind == "push":
            return publish(aws, str(asked.asked["sha256"]), by=asked.asked.get("by"))
        if asked.kind == "sweep":
            return take_over(aws, data, letter, str(asked.asked["name"]))
    except (RefusedError, BringError) as error:
        return REFUSED, str(error)
    except (ValueError, KeyError, TypeError) as error:
        return REFUSED, f"The request cannot be read: {error!r}. Send it again: {PLAIN}"
    except OSError as error:
        raise LaterError(f"this head cannot do it: {error}") from None
    return REFUSED, (
        f"this head does not know requests of the kind {asked.kind!r}: its release is older than the "
        "checkout that sent it"
    )


def _read(aws: Aws, letter: str, stored: Stored) -> Letter:
    """A letter out of the bucket. Raises AwsError; RefusedError when it is none."""
    if stored.size > MOST_BYTES:
        raise RefusedError(f"The request has {stored.size:,} bytes; the limit is {MOST_BYTES:,}.")
    with TemporaryDirectory() as folder:
        place = Path(folder, "letter.json")
        aws.get(KEYS.letter(letter), place)
        return read(place.read_bytes().decode(errors="replace"))


def publish(aws: Aws, sha256: str, *, by: Any) -> tuple[int, str]:
    """Publish a release whose archive is in the bucket, in a unit of its own: it restarts this one.

    Raises:
        BringError: it is not what its name says.
        LaterError: this machine's boot has not come so far, or AWS did not answer.
    """
    if not UV.exists():
        raise LaterError(f"{UV} does not exist yet")
    if current(aws) == sha256:
        return DONE, "it is the cluster's release"
    release = bring_release(aws, sha256)
    unit = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--property=EnvironmentFile={ENVIRONMENT}"]
    if by:
        unit.append(f"--setenv={PUSHED_BY}={json.dumps(by)}")
    command = [sys.executable, "-m", "sweepfleet.machine.head.publish", sha256]
    done = subprocess.run(
        [*unit, f"--working-directory={release / CODE}", *command], capture_output=True, text=True, check=False
    )
    said = (done.stderr or done.stdout).strip().removeprefix("error: ")
    if done.returncode == EXIT_AGAIN:
        raise LaterError(said)
    return (FAILED, said) if done.returncode else (DONE, "published")


def current(aws: Aws) -> str:
    """The release that the bucket names, by its hash; "" before the first."""
    with TemporaryDirectory() as folder:
        note = Path(folder, "current.json")
        if not aws.exists(KEYS.current):
            return ""
        aws.get(KEYS.current, note)
        return str(json.loads(note.read_text())["release"]["sha256"])


def take_over(aws: Aws, data: Data, letter: str, name: str) -> tuple[int, str]:
    """Start a run, as `inv sweep` does over SSH.

    Raises:
        RefusedError: it has a name that no run can have.
        LaterError: the data volume is not mounted yet.
    """
    if not NAME.fullmatch(name):
        raise RefusedError(f"{name!r} is not a run's name")
    if not (data.jobs.is_dir() or data.path.is_mount()):
        raise LaterError(f"{data.path} is not mounted yet")
    folder = JobFolder(data.jobs / name)
    with TemporaryDirectory() as temporary:
        archive = Path(temporary, "job.tar")
        aws.get(KEYS.enclosed(letter), archive)
        if _is_ours(folder, archive):
            return DONE, "taken over"
        words = [str(archive), str(folder.path), name, folder.unit]
        done = subprocess.run(
            ["sh", "-euc", TAKE_OVER, "take-over", *words], capture_output=True, text=True, check=False
        )
    if done.returncode == GOES_ON:
        return REFUSED, f"The run {name} is active already."
    if done.returncode:
        return FAILED, (done.stderr or done.stdout).strip()
    return DONE, "taken over"


def _is_ours(folder: JobFolder, archive: Path) -> bool:
    """Whether the run, which may have ended, is of this very letter: its answer could not be written."""
    said = subprocess.run(["tar", "-xOf", archive, "job.json"], capture_output=True, text=True, check=False).stdout
    try:
        return Job.from_json(said) == Job.from_json(folder.job.read_text())
    except (ValueError, TypeError, OSError):
        return False


def _letter(stored: Any) -> str:
    """The id of a letter out of its key; "" for what is none."""
    name, _, kind = str(stored.key).removeprefix(KEYS.inbox).rpartition(".")
    return name if kind == "json" and "/" not in name and name != "first" else ""


def main(words: list[str]) -> None:
    """Serve; with `--once`, look once: a head without a release does so with the one that it was sent."""
    os.umask(0o022)
    facts = Facts.read()
    if words == ["--once"]:
        do_all(Aws(facts), Data(Path(facts.data)), set(), volume=facts.data_volume)
    else:
        serve(facts)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (AwsError, LaterError) as _error:
        sys.exit(str(_error))
