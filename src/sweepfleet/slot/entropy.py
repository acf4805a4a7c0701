"""Random state and unique names that a target takes at import, which separate processes would each draw.

Nobody is watched: what there is after the import is looked at, and the code that the project's modules run when they
are imported. What each copy can be given of its own is renewed in it (`random`, generators of numpy and torch without
a seed). What nobody can renew (a UUID, a temporary folder, numbers that were drawn) is told. What libraries draw for
themselves while they are imported is theirs.
"""

from __future__ import annotations

import dis
import gc
import inspect
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from sweepfleet.slot.project_files import Names

# What gives each process something else, by the names that code calls it by.
_OWN = {
    **dict.fromkeys(("getpid", "getppid"), "asks for the process's id"),
    **dict.fromkeys(("uuid1", "uuid4"), "makes a UUID"),
    **dict.fromkeys(("urandom", "getrandom"), "draws random bytes"),
    **dict.fromkeys(("token_bytes", "token_hex", "token_urlsafe", "randbits", "SystemRandom"), "makes a secret"),
    **dict.fromkeys(("mkdtemp", "mkstemp", "mktemp", "gettempprefix"), "makes a temporary file or folder"),
    **dict.fromkeys(
        ("NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory"), "makes a temporary file or folder"
    ),
}
_CLOCKS = {"time", "time_ns", "now", "utcnow", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns"}
_SEEDS = {"seed", "manual_seed", "set_seed", "seed_everything"}
_SEEDED = _SEEDS | {"default_rng", "RandomState", "SeedSequence", "Random"}
# Names of what draws numbers, also as a module: code that uses none of these has drawn none.
_DRAWS = {
    *("random", "randint", "randrange", "choice", "choices", "sample", "shuffle", "uniform", "gauss", "getrandbits"),
    *("rand", "randn", "normal", "permutation", "integers", "standard_normal", "randperm", "triangular", "poisson"),
    *("expovariate", "normalvariate", "betavariate", "exponential", "binomial", "Random", "RandomState"),
}
_SYSTEMS_BITS = 64  # a seed of more bits than this came from the system: numpy draws 128
_TORCHS_LEAST = 1 << 32  # torch's own seed from the system has 53 bits or more
_TWIST = 624  # numbers of 32 bits after which a Mersenne Twister renews its state
_MOST_TWISTS = 2000  # that are followed: a million numbers drawn, some 0.1 s to follow
_GLOBAL: random.Random = random._inst  # noqa: SLF001 - whose methods the module's functions are

_renewals: list[Callable[[], object]] = []


def renew() -> None:
    """In a forked child, right after the fork: have the random state that a process of its own would have."""
    for each in _renewals:
        each()


class _Seed:
    """Replaces `random.seed` during an import, and remembers whether the last seed was given.

    An object and no function: a function that is kept in a class becomes a method. Where it is kept, it works on.
    """

    __name__ = "seed"

    def __init__(self) -> None:
        self.given: bool | None = None  # None: it was not called

    def __call__(self, *args: Any, **keywords: Any) -> None:
        self.given = next(iter((*args, *keywords.values())), None) is not None
        _GLOBAL.seed(*args, **keywords)

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("__import__('random').seed",)  # as the function itself: by name


class EntropyLook:
    """Looks at the random state before an import and after it."""

    def __init__(self, names: Names) -> None:
        """Remember what is there. Side effect: `random.seed` is stood for until `end`.

        Args:
            names: tells which files are the project's.
        """
        self._names = names
        self._before = random.getstate()
        self._modules = set(sys.modules)
        self._seed = random.seed
        self._stand_in = _Seed()
        random.seed = self._stand_in

    def end(self) -> list[str]:
        """What forks would share and `renew` cannot renew, one line each."""
        if random.seed is self._stand_in:  # else the target has put something of its own there
            random.seed = self._seed
        _renewals.clear()
        used: dict[str, str] = {}
        for name, place in _names_used(list(self._project_codes())):
            used.setdefault(name, place)
        draws = not _DRAWS.isdisjoint(used)
        found = dict.fromkeys(_own_things(used))
        for each in (*self._look_at_random(draws=draws), *_look_at_objects(used), *_look_at_torch(used)):
            found[each] = None
        return [f"{each}. Forks would all have the same" for each in found]

    def _project_codes(self) -> Iterator[tuple[str, CodeType]]:
        """The code of each of the project's modules that were imported, with its file's name."""
        for name in set(sys.modules) - self._modules:
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            shown = self._names.name_of_module(file) if isinstance(file, str) else None
            if shown is not None and isinstance(file, str) and isinstance(module, ModuleType):
                variables = vars(module)
                variables.update({key: self._seed for key, value in variables.items() if value is self._stand_in})
                code = _code_of(file)
                if code is not None:
                    yield shown, code

    def _look_at_random(self, *, draws: bool) -> Iterator[str]:
        now = random.getstate()
        if self._stand_in.given is False or now == self._before:
            return  # CPython draws another seed for a copy by itself
        if self._stand_in.given is None and _drawn(self._before, now):
            if draws:
                yield "numbers are drawn from `random` without a seed"
            return
        _renewals.append(partial(random.setstate, now))


def _code_of(file: str) -> CodeType | None:
    """What is in a source file now, and not by way of its loader: that notes which code computes."""
    try:
        return compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    except (OSError, ValueError, SyntaxError):
        return None


def _own_things(used: dict[str, str]) -> Iterator[str]:
    """What the project does at import that differs from process to process."""
    yield from (f"{place} {_OWN[name]}" for name, place in used.items() if name in _OWN)
    if not _SEEDED.isdisjoint(used) and (clocks := _CLOCKS & used.keys()):
        yield f"{used[min(clocks)]} reads the clock, and a random generator is seeded, perhaps with it"


def _names_used(modules: list[tuple[str, CodeType]]) -> Iterator[tuple[str, str]]:
    """The names that imports of these modules use, each with a place, and those of functions that they call."""
    functions: dict[str, list[tuple[str, CodeType]]] = {}
    for file, module in modules:
        for code in _nested(module):
            functions.setdefault(code.co_name, []).append((file, code))
    waiting, seen = list(modules), {id(code) for _, code in modules}
    while waiting:
        file, code = waiting.pop()
        # Bodies of classes and comprehensions run when they are come to, those of functions when they are called.
        runs = [each for each in _consts(code) if not each.co_flags & inspect.CO_OPTIMIZED or each.co_name[0] == "<"]
        runs_there = [(file, each) for each in runs]
        for name, line in _loaded(code):
            yield name, f"{file}:{line}"
            runs_there += functions.get(name, ())
        for each in runs_there:
            if id(each[1]) not in seen:
                seen.add(id(each[1]))
                waiting.append(each)


def _loaded(code: CodeType) -> Iterator[tuple[str, int]]:
    """The names that a piece of code loads, with their lines."""
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        if instruction.positions is not None:
            line = instruction.positions.lineno or line
        loads = instruction.opname.startswith("LOAD_") and instruction.opname != "LOAD_CONST"
        if loads and isinstance(instruction.argval, str):
            yield instruction.argval, line


def _consts(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _nested(code: CodeType) -> Iterator[CodeType]:
    for each in _consts(code):
        yield each
        yield from _nested(each)


def _drawn(before: Any, now: Any) -> bool:
    """Whether a state of `random` follows from another one by draws only, within a limit."""
    generator = random.Random()  # noqa: S311 - a copy of the one that is looked at
    generator.setstate(before)
    key = now[1][:-1]
    for _ in range(_MOST_TWISTS):
        if generator.getstate()[1][:-1] == key:
            return True
        generator.getrandbits(32 * _TWIST)
    return False


def _look_at_objects(used: dict[str, str]) -> Iterator[str]:
    """Generators: numpy's tell whether they have a seed, and are renewed if not; Python's do not tell."""
    numpys = sys.modules.get("numpy.random.bit_generator")
    kinds = (random.Random, *((numpys.BitGenerator, numpys.SeedSequence) if numpys is not None else ()))
    found = [each for each in gc.get_objects() if issubclass(type(each), kinds)]
    pythons = [each for each in found if isinstance(each, random.Random) and each is not _GLOBAL]
    if "Random" in used and any(type(each) is random.Random for each in pythons):
        yield "a random.Random is made, and cannot be asked whether it has a seed"
    if numpys is None:
        return
    generators = [each for each in found if isinstance(each, numpys.BitGenerator)]
    generators = [each for each in generators if type(each).__module__.startswith("numpy.")]
    for bits in generators:
        if _is_unseeded(bits.seed_seq):
            if not _DRAWS.isdisjoint(used) and not _is_as_seeded(bits):
                yield "numbers are drawn from a numpy generator without a seed"
            _renewals.append(partial(_renew_numpy, bits))
    theirs = {id(bits.seed_seq) for bits in generators}
    sequences = [each for each in found if isinstance(each, numpys.SeedSequence) and id(each) not in theirs]
    if any(_is_unseeded(each) for each in sequences):
        yield "a numpy SeedSequence is made without a seed"


def _is_unseeded(sequence: Any) -> bool:
    """Whether numpy drew the seed from the system; there is no sequence after `RandomState.seed`."""
    entropy = getattr(sequence, "entropy", None)
    return isinstance(entropy, int) and entropy.bit_length() > _SYSTEMS_BITS


def _is_as_seeded(bits: Any) -> bool:
    """Whether nothing was drawn from a bit generator yet."""
    return repr(type(bits)(bits.seed_seq).state) == repr(bits.state)


def _renew_numpy(bits: Any) -> None:
    bits.state = type(bits)().state


def _look_at_torch(used: dict[str, str]) -> Iterator[str]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "default_generator"):
        return
    seed = torch.initial_seed()
    if seed < _TORCHS_LEAST or not _SEEDS.isdisjoint(used):
        return  # the target has seeded it, as it will in each process
    _renewals.append(torch.default_generator.seed)  # which a process draws from the system when it imports torch
    fresh = torch.Generator()
    fresh.manual_seed(seed)
    if not _DRAWS.isdisjoint(used) and fresh.get_state().tolist() != torch.get_rng_state().tolist():
        yield "numbers are drawn from `torch` without a seed"
