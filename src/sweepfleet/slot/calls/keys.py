"""What a call is, by content: the function's name and code, and its arguments. The same in every process.

A pickle does not say it: it has sets in any order, and what is one object twice is written otherwise than two equal
ones. So values are taken apart as pickle would (`__reduce_ex__`), and their parts are hashed.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from sweepfleet.slot.identity import code_digest, importable, name_of

_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))


class NoKeyError(Exception):
    """A value's content cannot be told."""


def key_of(code: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """A name for a call: 32 hex digits.

    Args:
        code: what `code_of` says of the function.
        arguments: by position.
        keywords: by name, in any order.

    Raises NoKeyError.
    """
    made = hashlib.blake2b(digest_size=16)
    made.update(code.encode())
    try:
        for part in _parts((arguments, dict(sorted(keywords.items()))), frozenset()):
            made.update(len(part).to_bytes(8, "big"))
            made.update(part)
    except NoKeyError:
        raise
    except Exception as error:
        raise NoKeyError(f"{type(error).__name__}: {error}") from error
    return made.hexdigest()


def code_of(function: Callable[..., Any]) -> str:
    """A function's name and a digest of its code; of the project's functions that it uses, too."""
    return f"{name_of(function)} {code_digest(function)}"


def _parts(value: Any, above: frozenset[int]) -> Iterator[bytes | memoryview]:
    """The content of a value, unambiguously; `above` are the objects that it is part of."""
    kind = type(value)
    if kind in _PLAIN:
        yield f"{kind.__name__} {value!r}".encode()
        return
    if id(value) in above:
        raise NoKeyError(f"a {kind.__name__} contains itself")
    above |= {id(value)}
    if kind in (tuple, list):
        yield f"{kind.__name__} {len(value)}".encode()
        for each in value:
            yield from _parts(each, above)
    elif kind is dict:
        yield f"dict {len(value)}".encode()
        for pair in value.items():
            yield from _parts(pair, above)
    elif kind in (set, frozenset):
        yield f"{kind.__name__} {len(value)}".encode()
        yield from sorted(_digest(each, above) for each in value)
    elif isinstance(value, pickle.PickleBuffer):
        yield memoryview(value.raw())
    elif isinstance(value, bytearray | memoryview):
        yield memoryview(value).cast("B") if memoryview(value).contiguous else bytes(value)
    elif isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType):
        name = None if isinstance(value, FunctionType | MethodType) else importable(value)
        yield f"named {name or code_of(value)}".encode()
    elif isinstance(value, ModuleType):
        yield f"module {value.__name__}".encode()
    else:
        yield f"object {kind.__module__}.{kind.__qualname__}".encode()
        yield from _reduced(value.__reduce_ex__(5), above)


def _reduced(reduced: Any, above: frozenset[int]) -> Iterator[bytes | memoryview]:
    if isinstance(reduced, str):  # a global name
        yield reduced.encode()
        return
    for part in reduced[:3]:
        yield from _parts(part, above)
    for items in reduced[3:5]:  # of a list, or of a dict
        yield from _parts(None if items is None else list(items), above)


def _digest(value: Any, above: frozenset[int]) -> bytes:
    made = hashlib.blake2b(digest_size=16)
    for part in _parts(value, above):
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made.digest()
