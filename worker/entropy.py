"""Randomness that a target takes up while it is imported: processes of their own draw theirs, copies would share it.

What CPython renews by itself after a fork needs nothing (`random`, unless the target has seeded it), nor does what
asks the system each time (`secrets`, `uuid4`, names of temporary files). Other generators are renewed here in the
copy. What nobody can renew (numpy's `default_rng()` in a variable of the target, a UUID, a temporary folder) is told.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import random
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from functools import partial
from importlib import _bootstrap
from types import FrameType
from typing import Any

from worker.code import Names
from worker.stand_ins import StandIns

_STANDARD = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - as text, as in code objects
_RANDOM, _SECRETS, _UUID = (f"{_STANDARD}{name}.py" for name in ("random", "secrets", "uuid"))
NUMBERS = ("random", "getrandbits")  # methods of `Random` that all others draw with
_AN_IMPORT = "<frozen importlib._bootstrap>"
_SYSTEMS_BITS = 64  # a seed of more bits than this came from the system: numpy draws 128
_GLOBAL: random.Random = random._inst  # noqa: SLF001 - whose methods the module's functions are

_renewals: list[Callable[[], object]] = []


def renew() -> None:
    """In a forked child, right after the fork: have the random state that a process of its own would have."""
    for each in _renewals:
        each()


class EntropyWatch:
    """Notes who draws randomness from now on, until `end`; stand-ins for the standard library's functions do it."""

    def __init__(self, names: Names) -> None:
        """Begin to note.

        Args:
            names: tells which files are the project's.
        """
        self._names = names
        self._files: dict[str, str | None] = {}
        self._packages: dict[str, bool] = {}
        self._found: dict[str, None] = {}
        self._made: list[tuple[str, str]] = []
        self._unseeded: dict[int, tuple[weakref.ref[random.Random], str | None]] = {}
        self._numpys: list[tuple[Any, str | None]] = []
        self._clock: str | None = None
        self._in_library = False
        self._states: dict[str, bytes | None] = {}
        self._torchs_seed: int | None = None
        self._drawn: set[str] = set()
        self._keep_states()
        self._seeded = False
        self._watching = True
        self._replaced = StandIns(lambda frame: self._place(frame) is not None)
        kind = random.Random
        for where, name, note in (
            (random, "_urandom", self._note_bytes),
            (tempfile, "mkdtemp", self._note_made),
            (tempfile, "_mkstemp_inner", self._note_made),
            (kind, "seed", self._note_seed),
            (kind, "setstate", self._note_seed),
        ):
            self._replaced.replace(where, name, self._noting(getattr(where, name), note))
        load = getattr(_bootstrap, "_find_and_load", None)  # CPython's own business
        if load is None:
            self._drawn.update(STATES)  # by a library, or by the project
        else:
            self._replaced.replace(_bootstrap, "_find_and_load", self._loading(load))
        for module, name, note in (
            (os, "urandom", self._note_bytes),
            (os, "getpid", self._note_pid),
            (time, "time", self._note_clock),
            (time, "time_ns", self._note_clock),
        ):
            self._replaced.offer(module, name, self._noting(getattr(module, name), note))
        for name in ("seed", "setstate"):
            self._replaced.offer(random, name, getattr(_GLOBAL, name))
        for name in NUMBERS:
            self._replaced.replace(kind, name, self._noting(getattr(kind, name), self._note_number))
            self._replaced.offer(random, name, getattr(_GLOBAL, name))

    def _noting(self, function: Callable[..., Any], note: Callable[[FrameType, tuple[Any, ...], Any], None]) -> Any:
        """Stands for a function, and notes who has called it; afterwards it works on for whoever has kept it."""

        def noted(*args: Any, **keywords: Any) -> Any:
            result = function(*args, **keywords)
            if self._watching:
                note(sys._getframe(1), (*args, *keywords.values()), result)  # noqa: SLF001
            return result

        return noted

    def _loading(self, load: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
        """Stands for what imports a module that is new, and tells what libraries draw meanwhile from the rest."""

        def watched(name: str, import_: Any) -> Any:
            if self._in_library or not self._is_librarys(name.partition(".")[0]):
                return load(name, import_)
            self._look_at_states()
            self._in_library = True
            try:
                return load(name, import_)
            finally:
                self._in_library = False
                self._keep_states()

        return watched

    def _is_librarys(self, package: str) -> bool:
        if package not in self._packages:
            try:
                spec = importlib.util.find_spec(package)
            except (ImportError, ValueError):  # the import tells why
                spec = None
            places = [spec.origin, *(spec.submodule_search_locations or ())] if spec is not None else []
            self._packages[package] = all(self._name(place) is None for place in places if place)
        return self._packages[package]

    def _keep_states(self) -> None:
        self._states = {name: state() for name, state in STATES.items()}
        if self._torchs_seed is None and self._states["torch"] is not None:
            self._torchs_seed = sys.modules["torch"].initial_seed()

    def _look_at_states(self) -> None:
        for name, before in self._states.items():
            if before is not None and STATES[name]() != before:
                self._drawn.add(name)

    def end(self) -> list[str]:
        """Put everything back; what was drawn that copies would share, and that `renew` cannot renew."""
        self._watching = False
        self._replaced.put_back()
        _renewals.clear()
        self._look_at_states()
        self._look_at_random()
        self._look_at_numpy()
        self._look_at_torch()
        for path, place in self._made:
            if os.path.lexists(path):
                self._found[f"{place} makes a temporary file or folder, {path}"] = None
        return [f"{each}. Copies would have the same" for each in self._found]

    def _look_at_random(self) -> None:
        if self._seeded:
            state = random.getstate()
            _renewals.append(partial(random.setstate, state))  # CPython has drawn another seed for the copy
            self._suspect_clock("random")
        for reference, place in self._unseeded.values():
            if place is None:
                _renewals.append(partial(_reseed, reference))
            elif reference() is not None:
                self._found[f"{place} makes a random generator without a seed"] = None

    def _look_at_numpy(self) -> None:
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is None:
            return
        its_own = numpy_random.get_bit_generator()
        for bits, place in self._numpys:
            if bits is not its_own and _is_unseeded(bits):  # `RandomState(3)` draws, too, and is seeded then
                if place is None:
                    _renewals.append(partial(_renew_numpy, bits))
                else:
                    self._found[f"{place} makes a random generator without a seed"] = None
        if type(its_own).__name__ != "MT19937" or not _is_unseeded(its_own):
            self._suspect_clock("np.random")
            return  # the target has seeded it, as it will in each process
        _renewals.append(partial(_renew_numpy, its_own))
        self._tell_drawn("np.random")

    def _look_at_torch(self) -> None:
        torch = sys.modules.get("torch")
        if torch is None or STATES["torch"]() is None:
            return
        if self._torchs_seed is not None and torch.initial_seed() != self._torchs_seed:
            self._suspect_clock("torch")
            return  # the target has seeded it
        _renewals.append(torch.default_generator.seed)  # which a process draws from the system when it imports torch
        self._tell_drawn("torch")

    def _tell_drawn(self, generator: str) -> None:
        if generator in self._drawn:
            self._found[f"numbers are drawn from `{generator}` without a seed"] = None

    def _suspect_clock(self, seeded: str) -> None:
        if self._clock is not None:
            self._found[f"{self._clock} reads the clock, and `{seeded}` is seeded, perhaps by it"] = None

    def _note_clock(self, frame: FrameType, _args: tuple[Any, ...], _result: Any) -> None:
        if self._name(frame.f_code.co_filename) is not None:
            self._clock = self._place(frame)

    def _note_bytes(self, frame: FrameType, _args: tuple[Any, ...], _result: Any) -> None:
        place = self._place(frame)
        drawn_by = frame.f_back if frame.f_code.co_filename == _RANDOM else None
        if drawn_by is not None and drawn_by.f_code.co_filename != _SECRETS:
            made = _numpy_generator_in_the_making({id(bits) for bits, _ in self._numpys})
            if made is not None:
                self._numpys.append((made, place))
                return
        asker = _above(frame, _RANDOM, _SECRETS, _UUID)
        if self._name(asker.f_code.co_filename) is not None:  # what a library makes up for itself is harmless
            self._found[f"{place} {_what_is_drawn(frame)}"] = None

    def _note_pid(self, frame: FrameType, _args: tuple[Any, ...], _result: Any) -> None:
        name = self._name(frame.f_code.co_filename)
        if name is not None:
            self._found[f"{name}:{frame.f_lineno} asks for the process's id"] = None

    def _note_made(self, frame: FrameType, _args: tuple[Any, ...], made: Any) -> None:
        path = os.fsdecode(made if isinstance(made, (str, bytes)) else made[1])
        asker = _above(frame, tempfile.__file__).f_code.co_filename
        self._made.append((path, self._place(frame) or asker.rpartition("site-packages/")[2]))

    def _note_seed(self, frame: FrameType, args: tuple[Any, ...], _result: Any) -> None:
        generator, seed = args[0], next(iter(args[1:]), None)
        if generator is _GLOBAL:
            self._seeded = seed is not None
            if self._seeded:
                self._replaced.put_back(*NUMBERS)
        elif seed is not None:
            self._unseeded.pop(id(generator), None)
        elif frame.f_back is None or frame.f_back.f_globals is not vars(tempfile):  # which renews its own
            self._unseeded[id(generator)] = weakref.ref(generator), self._place(frame)

    def _note_number(self, frame: FrameType, args: tuple[Any, ...], _result: Any) -> None:
        place = self._place(frame) if args[0] is _GLOBAL and not self._seeded else None
        if place is not None:
            self._found[f"{place} draws from `random` without a seed"] = None
            self._replaced.put_back(*NUMBERS)  # once is enough: it may draw millions

    def _place(self, frame: FrameType | None) -> str | None:
        """The project's line at work in this frame; None when a library does it while it is imported itself."""
        while frame is not None and (file := frame.f_code.co_filename) != _AN_IMPORT:
            name = self._name(file)
            if name is not None:
                return f"{name}:{frame.f_lineno}"
            frame = frame.f_back
        return None

    def _name(self, file: str) -> str | None:
        if file not in self._files:
            self._files[file] = None if file.startswith("<") else self._names.name_of_module(file)
        return self._files[file]


def _numpys_state() -> bytes | None:
    """The state of `np.random`, to be compared; None before that is imported."""
    get_state = getattr(sys.modules.get("numpy.random"), "get_state", None)
    if get_state is None:
        return None
    import pickle  # which numpy has imported

    return pickle.dumps(get_state(legacy=False))


def _torchs_state() -> bytes | None:
    """The same for torch's generator on the processor; those on GPUs are made when they are first used."""
    torch = sys.modules.get("torch")
    return (
        bytes(torch.get_rng_state().tolist()) if torch is not None and hasattr(torch, "default_generator") else None
    )


STATES: dict[str, Callable[[], bytes | None]] = {"np.random": _numpys_state, "torch": _torchs_state}


def _above(frame: FrameType, *files: str) -> FrameType:
    """The first frame that is in none of these files."""
    while frame.f_code.co_filename in files and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _what_is_drawn(frame: FrameType) -> str:
    files = [frame.f_code.co_filename, frame.f_back.f_code.co_filename if frame.f_back else ""]
    if _UUID in files:
        return "makes a UUID"
    if _SECRETS in files:
        return "makes a secret"
    return "makes a random generator without a seed" if files[0] == _RANDOM else "draws random bytes"


def _is_unseeded(bits: Any) -> bool:
    """Whether a bit generator of numpy has the seed that numpy drew from the system for it."""
    entropy = getattr(bits.seed_seq, "entropy", None)  # the sequence is None after `RandomState.seed`
    return isinstance(entropy, int) and entropy.bit_length() > _SYSTEMS_BITS


def _numpy_generator_in_the_making(known: set[int]) -> Any:
    """The bit generator for which numpy draws a seed right now; None when it draws for another purpose.

    It has no Python frame, and nobody holds it yet but Python's collector, which lists the youngest objects last.
    """
    module = sys.modules.get("numpy.random.bit_generator")
    if module is None:
        return None
    for objects in (gc.get_objects(generation=0), gc.get_objects()):  # all: it may just have collected
        for each in reversed(objects):
            if issubclass(type(each), module.BitGenerator) and each.seed_seq is None and id(each) not in known:
                return each
    return None


def _reseed(reference: weakref.ref[random.Random]) -> None:
    generator = reference()
    if generator is not None:
        random.Random.seed(generator)


def _renew_numpy(bits: Any) -> None:
    bits.state = type(bits)().state
