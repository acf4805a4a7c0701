"""The one door to the `pulumi` command: each method is one call of it, and what it said as a value."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.fleet.errors import ClusterError, StoppedError
from sweepfleet.fleet.stack import foreground
from sweepfleet.fleet.stack.locks import LockedError, locks_in
from sweepfleet.fleet.stack.pulumi_endings import ANSWERED, KILLED, failure, require_uninterrupted, stack_of, stopped
from sweepfleet.fleet.stack.pulumi_state import Resource, State
from sweepfleet.infra.outputs import Outputs, OutputsError
from sweepfleet.infra.settings import PROJECT

OLDEST = (3, 252)  # the first that reads a stack's outputs without its passphrase (pulumi/pulumi#23820)
NOTICE = (
    "Interrupted. Pulumi finishes what is in flight and then stops, which can take minutes. Press Ctrl-C again to "
    "stop at once: what is in flight may then exist and not be in its state."
)
INSTALL = "Install it: https://www.pulumi.com/docs/install/ (macOS: brew install pulumi/tap/pulumi)"


@dataclass(frozen=True, slots=True)
class PulumiCli:
    """Runs `pulumi` in the project's folder.

    Every method raises ClusterError when the command is missing or fails; the message holds what it said.
    """

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # on top of this process's own

    def version(self) -> tuple[int, ...]:
        """Its version, e.g. (3, 200, 1)."""
        said = self._asked("version")
        match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", said)
        if match is None:
            raise ClusterError(f"`pulumi version` said {said.strip()!r}, which is not a version. {INSTALL}")
        return tuple(map(int, match.groups()))

    def require(self) -> None:
        """Be sure that it is new enough.

        Raises:
            ClusterError: it is not there, or too old.
        """
        seen = self.version()
        if seen < OLDEST:
            shown, oldest = (".".join(map(str, one)) for one in (seen, OLDEST))
            raise ClusterError(f"pulumi {shown} is older than {oldest}, the oldest that works. {INSTALL}")

    def whoami(self) -> str:
        """Who is logged in, and where the state is kept.

        Raises:
            ClusterError: nobody is.
        """
        said = json.loads(self._asked("whoami", "--json"))
        return f"{said['user']} at {said['url']}"

    def selected(self) -> str | None:
        """The stack that `pulumi stack select` chose; None when none is."""
        stacks = json.loads(self._asked("stack", "ls", "--json"))
        return next((_short(stack["name"]) for stack in stacks if stack.get("current")), None)

    def has_stack(self, stack: str) -> bool:
        """Whether the stack exists in the backend."""
        stacks = json.loads(self._asked("stack", "ls", "--json"))
        return any(_short(known["name"]) == _short(stack) for known in stacks)

    def create_stack(self, stack: str) -> None:
        """Make an empty stack and select it; may ask for a passphrase on the terminal."""
        self._shown("stack", "init", stack)

    def remove_stack(self, stack: str) -> None:
        """Remove an empty stack; its configuration file stays."""
        self._asked("stack", "rm", "--yes", "--preserve-config", "--stack", stack)

    def config(self, stack: str) -> dict[str, str]:
        """Every setting of a stack with its namespace, the project's defaults among them."""
        said = json.loads(self._asked("config", "--json", "--stack", stack))
        return {key: value["value"] for key, value in said.items() if "value" in value}

    def set_config(self, stack: str, key: str, value: str) -> None:
        """Set one setting; `key` may be a path such as `sshCidrs[0]`."""
        self._asked("config", "set", "--stack", stack, "--path", key, "--", value)

    def outputs(self, stack: str) -> Outputs:
        """The stack's outputs; Pulumi keeps the last ones of a stack that was taken down.

        Raises:
            ClusterError: there are none, or another version of this program made them.
        """
        text = self._asked("stack", "output", "--json", "--stack", stack)
        try:
            return Outputs.from_json(text)
        except OutputsError as error:
            raise ClusterError(
                f"The stack {stack} was made by another version ({error}). Update it: inv up --stack {stack}"
            ) from None

    def resources(self, stack: str) -> list[Resource]:
        """The resources that the stack's state holds."""
        return list(self.state(stack).resources)

    def state(self, stack: str) -> State:
        """What the stack's state holds."""
        return State.of(json.loads(self._asked("stack", "export", "--stack", stack)))

    def forget_creating(self, stack: str) -> None:
        """Ask the cloud for every resource of the state, and drop what Pulumi was making when it was killed."""
        words = ("--yes", "--skip-preview", "--suppress-outputs", "--clear-pending-creates")
        self._watched("refresh", *words, "--stack", stack)

    def secrets_provider(self, stack: str) -> tuple[str, str]:
        """The type of what encrypts the secrets of a stack's state, and a passphrase's salt; empty where unknown."""
        state = json.loads(self._asked("stack", "export", "--stack", stack))["deployment"] or {}
        found = state.get("secrets_providers") or {}
        return str(found.get("type", "")), str((found.get("state") or {}).get("salt", ""))

    def passphrase_fits(self, stack: str, salt: str) -> bool:
        """Whether the passphrase in the environment is the one of this salt; changes nothing."""
        with TemporaryDirectory() as folder:
            file = Path(folder, "check.yaml")  # Pulumi checks it before it writes a secret, here into this file
            file.write_text(f"encryptionsalt: {salt}\n")
            words = ("config", "set", "--stack", stack, "--config-file", str(file), "--secret", "check", "x")
            done = self._run(words)
        if done.returncode and "incorrect passphrase" not in done.stderr:
            raise failure(done, words)
        return done.returncode == 0

    def refresh(self, stack: str) -> None:
        """Bring the state up to what AWS has: what was deleted there is removed from it. AWS is only read."""
        self._watched("refresh", "--yes", "--skip-preview", "--suppress-outputs", "--stack", stack)

    def unprotect(self, stack: str, urn: str) -> None:
        """Let a resource be deleted; only the state changes."""
        self._asked("state", "unprotect", urn, "--yes", "--stack", stack)

    def preview(self, stack: str) -> None:
        """Show what `up` would do."""
        self._shown("preview", "--suppress-outputs", "--stack", stack)

    def up(self, stack: str, *, yes: bool) -> None:
        """Show what is to be done, ask unless `yes`, and do it."""
        self._watched("up", "--suppress-outputs", "--stack", stack, *(["--yes"] if yes else []))

    def plan(self, stack: str, *, save: Path, refresh: bool = False) -> tuple[str, bool]:
        """Work out what `up` would do, and save it as a plan for `up_as_planned`; changes nothing.

        Args:
            stack: which one.
            save: where the plan goes.
            refresh: compare with what AWS has, not with the state; `up_as_planned` then needs `refresh` before it.

        Returns:
            what it printed, a JSON document, and whether it came to its end; `save` is written when it did.
        """
        words = ("preview", "--json", "--show-sames", "--save-plan", str(save), "--stack", stack)
        done = self._run((*words, "--refresh") if refresh else words)
        return self._document(done, "preview"), done.returncode == 0

    def drift(self, stack: str) -> tuple[str, bool]:
        """Ask the cloud what has become of the stack, and what `up` would do about it; changes nothing.

        Returns:
            what it printed, a JSON document, and whether there is nothing to do.
        """
        done = self._run(("preview", "--json", "--refresh", "--expect-no-changes", "--stack", stack))
        return self._document(done, "preview"), done.returncode == 0

    def up_as_planned(self, stack: str, plan: Path, *, say: Callable[[str], None]) -> tuple[bool, str]:
        """Do what was planned and no more, without asking; a line at a time goes to `say` as it comes.

        Returns:
            whether it came to its end, and all that it said.
        """
        words = ("up", "--yes", "--skip-preview", "--suppress-outputs", "--plan", str(plan), "--stack", stack)
        command = ["pulumi", "--non-interactive", "--color", "never", *words]
        done = foreground.lines(command, cwd=self.root, env=self._environment(), say=say, notice=NOTICE)
        if done.signals:
            raise stopped(done)
        return done.returncode == 0, done.stdout

    def backend(self) -> str:
        """Where the state is kept, as `pulumi login` takes it.

        Raises:
            ClusterError: nobody is logged in.
        """
        return str(json.loads(self._asked("whoami", "--json"))["url"])

    def destroy(self, stack: str, *, keep_protected: bool) -> None:
        """Destroy a stack's resources without asking."""
        which = ["--exclude-protected"] if keep_protected else []
        self._watched("destroy", "--yes", "--skip-preview", "--suppress-outputs", "--stack", stack, *which)

    def _asked(self, *words: str) -> str:
        """What the command prints."""
        done = self._run(words)
        if done.returncode:
            raise failure(done, words)
        return done.stdout

    def _document(self, done: foreground.Ended, word: str) -> str:
        """The JSON document that a command printed, whatever it ended with; other text may come before it."""
        start = done.stdout.find("{")
        if start < 0:
            raise failure(done, (word,))
        return done.stdout[start:]

    def _watched(self, *words: str) -> None:
        """Run an update on this terminal.

        Raises:
            StoppedError: it was interrupted, also where Pulumi ends as if it had completed.
        """
        with TemporaryDirectory() as folder:
            log = Path(folder, "events.jsonl")
            try:
                self._shown(*words, log=log)
            except StoppedError:
                raise
            except ClusterError:
                require_uninterrupted(log)
                raise
            require_uninterrupted(log)

    def _shown(self, *words: str, log: Path | None = None) -> None:
        """Run the command on this terminal; its events go to `log`, as for Pulumi's own Automation API."""
        events = [] if log is None else ["--event-log", str(log)]
        env = self._environment() | (
            {} if log is None else {"PULUMI_DEBUG_COMMANDS": "true"}
        )  # or it has no such flag
        done = foreground.shown([*self._command(words), *events], cwd=self.root, env=env, notice=NOTICE)
        if done.signals or done.returncode in KILLED or ANSWERED.search(done.stderr):
            raise stopped(done)
        if done.returncode:
            locks = locks_in(done.stderr)
            if locks is not None:
                raise LockedError(stack_of(words), locks)
            raise ClusterError(
                f"`pulumi {' '.join(words)}` ended with exit code {done.returncode}; its output is above. What "
                "was made is recorded, and the same command continues from there."
            )

    def _run(self, words: tuple[str, ...]) -> foreground.Ended:
        """Run the command and take its output."""
        done = foreground.captured(self._command(words, captured=True), cwd=self.root, env=self._environment())
        if done.signals:
            raise stopped(done)
        return done

    def _command(self, words: tuple[str, ...], *, captured: bool = False) -> list[str]:
        if shutil.which("pulumi") is None:
            raise ClusterError(f"The command `pulumi` is not on the PATH; it makes the cluster. {INSTALL}")
        return ["pulumi", *(["--non-interactive"] if captured else []), *words]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"} | dict(self.environment)


def _short(name: str) -> str:
    """A stack's own name: Pulumi's service puts organisation and project before it."""
    return name.rpartition("/")[2]


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The project's own keys of a stack's configuration, without the project's name."""
    prefix = f"{PROJECT}:"
    return {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
