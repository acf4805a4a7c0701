"""cloudpickle's pickles, in which code keeps the name of its file: tracebacks of other processes then show its lines.

cloudpickle 3.1.3 writes "<dynamic-code>" in its place: https://github.com/cloudpipe/cloudpickle/blob/master/CHANGES.md
"""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import CodeType
from typing import Any, ClassVar

from cloudpickle import Pickler

_FORGOTTEN = "<dynamic-code>"
_reduce: Callable[[CodeType], tuple[Any, tuple[Any, ...]]] = Pickler.dispatch_table[CodeType]


def _code(code: CodeType) -> tuple[Any, tuple[Any, ...]]:
    make, arguments = _reduce(code)
    # A string of its own each time: cloudpickle keeps pickles of equal code equal so.
    return make, tuple("".join(code.co_filename) if each == _FORGOTTEN else each for each in arguments)


class _Pickler(Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _code}, Pickler.dispatch_table)


def dumps(value: Any, *, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """A pickle, of protocol 5. Raises whatever the value's pickling does."""
    with io.BytesIO() as file:
        _Pickler(file, protocol=5, buffer_callback=buffer_callback).dump(value)
        return file.getvalue()
