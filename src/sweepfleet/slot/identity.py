"""What a function is, by content: its source, its defaults, and what it closes over or takes from its module.

Pickles of one function differ from process to process (names of a notebook's cells, the order of a set); this does
not. It decides whether a row's code is today's, and nothing else: a point's identity is its parameters'.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from sweepfleet.slot.project_files import NOT_THE_PROJECTS


def importable(function: Any) -> str | None:
    """`module:function` by which another process can import it; None where it cannot."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or module == "__main__" or isinstance(function, MethodType):
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function else None


def name_of(function: Any) -> str:
    """`module:function`, whether it can be imported or not; of a partial, its function's."""
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__qualname__"):  # an object that can be called
        function = type(function)
    name = function.__qualname__.replace("<locals>.", "")
    return f"{function.__module__ or '__main__'}:{name}"


def digest(function: Any) -> str:
    """A name for a function's content: 16 hex digits."""
    made = hashlib.blake2b(digest_size=8)
    for part in _parts(function, {}):
        made.update(len(part).to_bytes(8, "big") + part)
    return made.hexdigest()


def code_digest(function: Any) -> str:
    """As `digest`, but with the source of functions and classes that are the project's and can be imported.

    What a function imports when it is called is not looked at.
    """
    made = hashlib.blake2b(digest_size=8)
    for part in _parts(function, {}, _is_installed):
        made.update(len(part).to_bytes(8, "big") + part)
    return made.hexdigest()


def _is_installed(value: Any) -> bool:
    """Whether a function or class is of an installed package or of Python itself, whose versions are fixed."""
    try:
        file = inspect.getfile(value)
    except TypeError:  # compiled into Python
        return True
    return not NOT_THE_PROJECTS.isdisjoint(Path(file).parts) or file.startswith(sysconfig.get_path("stdlib"))


def _parts(value: Any, seen: dict[int, Any], by_name: Callable[[Any], bool] = lambda _: True) -> Iterator[bytes]:
    if id(value) in seen:
        yield b"again"
        return
    seen[id(value)] = value  # and so it lives, and nothing else gets its id
    name = importable(value) if isinstance(value, FunctionType | BuiltinFunctionType | type) else None
    if name is not None and by_name(value):  # a module's: its file's content is looked at where it is imported
        yield f"import {name}".encode()
    elif isinstance(value, ModuleType):
        yield f"import {value.__name__}".encode()
    elif isinstance(value, functools.partial):
        yield from _several([value.func, value.args, dict(sorted(value.keywords.items()))], seen, by_name)
    elif isinstance(value, MethodType):
        yield from _several([value.__func__, value.__self__], seen, by_name)
    elif isinstance(value, FunctionType):
        yield from _function(value, seen, by_name)
    elif isinstance(value, type):
        yield value.__qualname__.encode()
        own = {key: each for key, each in vars(value).items() if key not in _NOT_OF_A_CLASS}
        yield from _several([*value.__bases__, own], seen, by_name)
    elif isinstance(value, dict):
        yield from _several([each for pair in value.items() for each in pair], seen, by_name)
    elif isinstance(value, list | tuple):
        yield from _several(value, seen, by_name)
    elif isinstance(value, set | frozenset):
        yield from sorted(b"".join(_parts(each, dict(seen), by_name)) for each in value)
    elif isinstance(value, staticmethod | classmethod):
        yield from _parts(value.__func__, seen, by_name)
    elif isinstance(value, property):
        yield from _several([value.fget, value.fset, value.fdel], seen, by_name)
    elif isinstance(inner := getattr(value, "__wrapped__", None), FunctionType) and not by_name(inner):
        yield from _parts(inner, seen, by_name)  # as of functools.cache
    else:
        yield _pickled(value)


_NOT_OF_A_CLASS = {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"}


def _several(values: Any, seen: dict[int, Any], by_name: Callable[[Any], bool]) -> Iterator[bytes]:
    yield f"{type(values).__name__} {len(values)}".encode()
    for each in values:
        yield from _parts(each, seen, by_name)


def _function(function: FunctionType, seen: dict[int, Any], by_name: Callable[[Any], bool]) -> Iterator[bytes]:
    try:
        yield textwrap.dedent(inspect.getsource(function)).encode()
    except (OSError, TypeError):  # typed at a prompt, or made by exec
        yield from _code(function.__code__)
    yield from _several([function.__defaults__, function.__kwdefaults__], seen, by_name)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen, by_name)
        except ValueError:  # empty: it is a function that has not been defined yet
            yield b"empty"
    names = sorted(set(_names(function.__code__)))
    for name in names:
        if name in function.__globals__:
            yield name.encode()
            value = function.__globals__[name]
            yield from _parts(value, seen, by_name)
            if isinstance(value, ModuleType) and not by_name(value):
                yield from _used(value, names, seen, by_name)


def _used(
    module: ModuleType, names: Sequence[str], seen: dict[int, Any], by_name: Callable[[Any], bool]
) -> Iterator[bytes]:
    """What code that uses these names may use of a module: an attribute's module cannot be told from its name."""
    for name in names:
        value = vars(module).get(name)
        if value is not None and id(value) not in seen:
            yield name.encode()
            yield from _parts(value, seen, by_name)
            if isinstance(value, ModuleType) and not by_name(value):
                yield from _used(value, names, seen, by_name)


def _names(code: CodeType) -> Iterator[str]:
    """The names that code and the code in it look up."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _code(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _code(each)
        else:
            yield repr(sorted(map(repr, each)) if isinstance(each, frozenset) else each).encode()


def _pickled(value: Any) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(value))
    except Exception:  # noqa: BLE001 - whether it can be sent is asked elsewhere
        return type(value).__qualname__.encode()
