"""How command lines are read: invoke's parser, with optional positional values and proposals for mistyped words.

invoke makes its parser itself, before and after it has loaded our tasks, so its classes are replaced in its modules:
`install` is the one place that knows.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import invoke.parser.parser
import invoke.program
from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.parser.parser import ParseMachine, Parser

from sweepfleet.tasks.called import collection_of, propose_as_called
from sweepfleet.tasks.front import nobody_reads
from sweepfleet.tasks.grids import first_sweep

ALL_TASKS = "All tasks: inv --list"
GRIDS = (".yaml", ".yml")
# What other tools call it.
SYNONYMS = (
    dict.fromkeys(
        ("--jobs", "--n-jobs", "--num-workers", "--cores", "--cpus", "--parallel", "--processes", "--max-parallel"),
        "--workers",
    )
    | {"--dry-run": "--preview", "--dryrun": "--preview", "--filter": "--where", "--out": "--name"}
    | {"--force": "--redo", "--rerun": "--redo"}
)
RESUMING = ("--resume", "--continue")
HELP = ("help", "list", "ls", "tasks", "commands")


class MistypedError(ParseError, Exit):
    """A command line that cannot be read: it is wrong input like any other, and ends with 2."""

    tasks: tuple[str, ...] = ()  # that there are

    def __init__(self, message: str, context: Any = None) -> None:
        Exit.__init__(self, code=2)  # invoke prints the text of a ParseError, and takes an Exit's code
        self.context = context
        task = re.fullmatch(r"No idea what '(.*)' is!", message)  # after `inv --help`, which is not the machine's
        self._said = unknown_task(task[1], tasks=self.tasks) if task else message

    def __str__(self) -> str:
        return f"error: {self._said}"


class _Machine(ParseMachine):
    """Reads a command line's words one by one."""

    positional: Mapping[str, str] = {}  # by task, the flag whose value may stand without it
    collection = ""  # that the user has put our tasks into, with its dot

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._twice: Any = None  # the flag that has just been given again
        super().__init__(*args, **kwargs)

    def handle(self, token: str) -> None:
        """Take one word."""
        twice, self._twice = self._twice, None
        if self.ignore_unknown or self.current_state == "unknown" or self._is_known(token):
            super().handle(token)
        elif twice is not None and not token.startswith("-"):
            if not _same(str(twice.value), token):
                self.error(f"--{twice.names[0]} is given twice: {twice.value} and {token}. Give it once.")
        elif token.startswith("-") or not self._is_positional(token):
            self.error(_unknown(token, self.context, tasks=self.contexts))

    def _is_known(self, token: str) -> bool:
        """Whether invoke knows what this word is."""
        context = self.context
        is_flag = context.name is not None and f"--{token}" in context.flags
        is_task = token in self.contexts and not is_flag and not self._is_free(token)
        return (
            token in context.flags
            or token in context.inverse_flags
            or self.waiting_for_flag_value
            or bool(context.missing_positional_args)
            or is_task
            or token in self.initial.flags
        )

    @property
    def _task(self) -> str:
        """The task at hand, as we name it."""
        return (self.context.name or "").removeprefix(self.collection)

    def _is_free(self, token: str) -> bool:
        """Whether this word is a file, where the task at hand may be given one and has none: `inv sweep sweeps`."""
        flag = self.positional.get(self._task)
        return flag == "grid" and not self.context.args[flag].got_value and Path(token).exists()

    def _is_positional(self, token: str) -> bool:
        """Take a word as the task's positional value, if it has one."""
        flag = self.positional.get(self._task)
        if flag is None or flag not in self.context.args:
            return False
        argument = self.context.args[flag]
        if f"--{token}" in {*self.context.flags, *self.initial.flags} and not Path(token).exists():
            self.error(f"{token!r} is not a {flag}. Did you mean --{token}?")
        if "=" in token and "--set" in self.context.flags and not Path(token).exists():
            self.error(f"{token!r} is not a {flag}. Did you mean --set {token}?")
        if self.flag and not self.flag.takes_value and not Path(token).exists():
            self.error(f"--{self.flag.names[0]} takes no value, but {token!r} follows it. {_see(self.context)}")
        if argument.kind is not list and argument.got_value and not _same(argument.value, token):
            self.error(f"{self.context.name} takes one {flag}, and was given two: {argument.value} and {token}.")
        if argument.kind is list or not argument.got_value:
            argument.value = token
        return True

    def see_value(self, value: Any) -> None:
        """Take a flag's value."""
        if value == "" and self.flag and self.flag.names[0] in self.positional.values():
            self.error(f"--{self.flag.names[0]} is empty. Is a variable of the shell not set?")
        super().see_value(value)

    def switch_to_flag(self, flag: str, inverse: bool = False) -> None:  # noqa: FBT001, FBT002 - invoke's signature
        """Begin a flag."""
        before = self.context.flags.get(flag)
        if before is not None and before.takes_value and before.kind is not list and before.got_value:
            self._twice = before
        super().switch_to_flag(flag, inverse)

    def complete_flag(self) -> None:
        """End a flag."""
        flag = self.flag
        given = flag and (self.flag_got_value if flag.kind is list else flag.raw_value is not None)
        if flag and flag.takes_value and not given and not flag.optional:
            self.error(f"--{flag.names[0]} needs a value. {_see(self.context)}")
        super().complete_flag()


# fluidity's metaclass gives every class a new, empty set of them.
_Machine._class_states = ParseMachine._class_states  # noqa: SLF001
_Machine._class_transitions = ParseMachine._class_transitions  # noqa: SLF001


class _Parser(Parser):
    """Parses whole command lines."""

    ours = Collection()  # our tasks, by the names that we give them

    def parse_argv(self, argv: list[str]) -> Any:
        """Refuse `-grid` before it is read as `-g rid`."""
        if self.contexts:  # the first time there are none: then invoke reads its own flags
            MistypedError.tasks = tuple(self.contexts)
            _Machine.collection = collection_of(self.ours.task_names, self.contexts)
            propose_as_called(self.ours.task_names, collection=_Machine.collection)
        body = argv[: argv.index("--")] if "--" in argv else argv
        flags = {flag for context in (*self.contexts.values(), self.initial) for flag in context.flags}
        for word in body if not self.ignore_unknown else ():
            dashes = re.match("-(?=[^-])|[\u2013\u2014\u2212]+-*", word)  # one, or what a word processor made of two
            name = word[dashes.end() :].partition("=")[0] if dashes else ""
            if len(name) > 1 and f"--{name}" in flags:
                raise MistypedError(f"{word!r} has too few dashes. Did you mean --{name}?")
        return super().parse_argv(argv)


def _same(one: str, other: str) -> bool:
    return Path(one).absolute() == Path(other).absolute()


def _see(context: Any) -> str:
    return f"All flags: inv {context.name} --help" if context.name else ALL_TASKS


def _unknown(token: str, context: Any, *, tasks: Iterable[str]) -> str:
    """What a word may have been meant to be, that is nothing here."""
    if context.name is None:
        return unknown_task(token, tasks=tasks)
    if token.startswith("-"):
        if (meant := SYNONYMS.get(token)) in context.flags:
            return f"{context.name} has no flag {token}. Here it is {meant}. {_see(context)}"
        if context.name.rpartition(".")[2] == "sweep" and token in RESUMING:
            return f"sweep has no flag {token}: it resumes by itself, and runs what is not done. {_see(context)}"
        near = nearest(token, [flag for flag in context.flags if flag.startswith("--")])
        if not near and token.startswith("--") and "--set" in context.flags:
            near = f" To override a parameter or a key: --set {token.lstrip('-')}=..."
        return f"{context.name} has no flag {token}.{near} {_see(context)}"
    near = nearest(f"--{token}", [flag for flag in context.flags if flag.startswith("--")]) or nearest(token, tasks)
    return f"{context.name} cannot use {token!r}.{near} {_see(context)}"


def unknown_task(token: str, *, tasks: Iterable[str]) -> str:
    """What a first word may have been meant to be, that is no task."""
    if token.endswith(GRIDS):
        return f"{token!r} is not a task. Did you mean: inv sweep {token}?"
    if token in HELP:
        return f"There is no task {token!r}. {ALL_TASKS} · flags of one: inv sweep --help"
    if token.startswith("-"):
        return f"inv has no flag {token}. Flags stand behind a task: inv sweep --grid ... {ALL_TASKS}"
    inside = [name for name in tasks if name.endswith(f".{token}")]
    near = f" Did you mean {inside[0]}?" if inside else nearest(token, tasks)
    return f"There is no task {token!r}.{near} {ALL_TASKS}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A proposal, with a space before it; empty when nothing is near."""
    names = {name.lstrip("-"): name for name in sorted(set(known))}
    found = difflib.get_close_matches(word.lower().replace("_", "-").lstrip("-"), names, n=1, cutoff=0.7)
    return f" Did you mean {names[found[0]]}?" if found else ""


def install(tasks: Collection, *, positional: Mapping[str, str]) -> None:
    """Have invoke read command lines as here, and list the tasks when it is given none.

    Args:
        tasks: all of them; more may come in later.
        positional: by task, the flag whose value may stand without it.
    """
    _Machine.positional = dict(positional)
    vars(invoke.parser.parser).update(ParseError=MistypedError, ParseMachine=_Machine)
    _Parser.ours = tasks
    vars(invoke.program).update(Parser=_Parser, ParseError=MistypedError)
    # By setattr, since mypy refuses the plain way.
    setattr(invoke.program.Program, "no_tasks_given", _list_tasks)  # noqa: B010
    setattr(invoke.program.Program, "list_tasks", _list)  # noqa: B010


_list_of_invoke = invoke.program.Program.list_tasks


def _list(program: Any) -> None:
    """`inv --list`, also into a pipe that is closed before its end."""
    try:
        _list_of_invoke(program)
        sys.stdout.flush()
    except BrokenPipeError:
        raise nobody_reads() from None


def _list_tasks(program: Any) -> None:
    """What `inv` alone does."""
    program.list_tasks()
    print(f"Flags of a task: inv sweep --help · first steps: {first_sweep()}")
    raise Exit
