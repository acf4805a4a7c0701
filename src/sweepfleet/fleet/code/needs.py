"""Which modules a function that was sent by value needs, read from its file; nothing of it is run or imported."""

from __future__ import annotations

import dis
import io
import pickle
from collections.abc import Callable
from types import CodeType
from typing import Any

MAKERS = ("cloudpickle.cloudpickle", "cloudpickle")  # modules whose functions build what was pickled
OWN = frozenset({"__main__", "__builtin__", "builtins", *MAKERS})


def modules_of(data: bytes) -> frozenset[str]:
    """The modules that a file's function refers to, and that its code imports; `data` is its content.

    Objects in it are not made: each is a stand-in that takes what it is given. Its code objects are, and are read.
    """
    reader = _Reader(io.BytesIO(data.partition(b"\n")[2]))
    reader.load()
    found = reader.modules.copy()
    for code in reader.codes:
        found.update(_imports(code))
    return frozenset(found - OWN)


def _imports(code: CodeType) -> set[str]:
    """The modules that import statements of this code and the code in it name."""
    found = {str(one.argval) for one in dis.get_instructions(code) if one.opname == "IMPORT_NAME" and one.argval}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            found |= _imports(each)
    return found


class _Takes(type):
    """The type of the stand-in, which is a class and its own instance: a pickle has both."""

    def __setitem__(cls, _: Any, __: Any) -> None:
        """Take whatever it is given."""


class _Anything(metaclass=_Takes):
    """Stands for classes and objects that are not made."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Itself."""
        return cls

    @classmethod
    def take(cls, *_: Any) -> None:
        """Take whatever it is given."""

    __setstate__ = append = extend = add = take


class _Reader(pickle.Unpickler):
    """Reads a pickle without making what is in it."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.modules: set[str] = set()
        self.codes: list[CodeType] = []

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for what a pickle names, which is noted."""
        made: dict[str, Callable[..., Any]] = {
            "_builtin_type": lambda kind: self._code if kind == "CodeType" else _Anything,
            "subimport": self._module,
            "dynamic_subimport": lambda *_: _Anything,
        }
        if module in MAKERS:
            return made.get(name, _Anything)
        if (module, name) in (("types", "CodeType"), ("builtins", "code")):
            return self._code
        self.modules.add(module)
        return _Anything

    def _code(self, *parts: Any) -> CodeType:
        made = CodeType(*parts)
        self.codes.append(made)
        return made

    def _module(self, name: str) -> type[_Anything]:
        self.modules.add(name)
        return _Anything
