"""Functions of the standard library that others stand for while a target is imported, and that are put back then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType, ModuleType
from typing import Any

_MISSING = object()


class StandIns:
    """What is replaced for a time.

    Names of modules are offered rather than replaced: what runs on the project's behalf gets the stand-in, and what
    else looks them up the function itself. So a library keeps that when it is imported (`from random import random`),
    and points pay nothing for the watch.
    """

    def __init__(self, is_projects: Callable[[FrameType], bool]) -> None:
        """Nothing is replaced yet.

        Args:
            is_projects: whether what a frame does is on the project's behalf.
        """
        self._is_projects = is_projects
        self._undo: list[tuple[str, Callable[[], None]]] = []
        self._on_offer: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._takers: dict[int, dict[str, Any]] = {}

    def replace(self, where: Any, name: str, stand_in: Any) -> None:
        """Put `stand_in` in the place of what a module or a class has by this name."""
        original = vars(where).get(name, _MISSING)
        undo = partial(delattr, where, name) if original is _MISSING else partial(setattr, where, name, original)
        self._undo.append((name, undo))
        setattr(where, name, stand_in)

    def offer(self, module: ModuleType, name: str, stand_in: Any) -> None:
        """Have the project find `stand_in` by this name in a module."""
        if "__getattr__" not in vars(module):  # which Python asks for names that are not there
            self.replace(module, "__getattr__", partial(self._hand_out, module.__name__))
        original = getattr(module, name)
        self._on_offer[module.__name__, name] = stand_in, original
        self._undo.append((name, partial(setattr, module, name, original)))
        delattr(module, name)

    def _hand_out(self, module: str, name: str) -> Any:
        if (module, name) not in self._on_offer:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        stand_in, original = self._on_offer[module, name]
        frame = sys._getframe(1)  # noqa: SLF001
        if not self._is_projects(frame):
            return original
        self._takers[id(frame.f_globals)] = frame.f_globals
        return stand_in

    def put_back(self, *names: str) -> None:
        """Have what these names stand for as it was; without any, everything, also where the project has taken it."""
        kept = []
        for name, undo in reversed(self._undo):
            if not names or name in names:
                undo()
            else:
                kept.append((name, undo))
        self._undo = kept[::-1]
        originals = {id(stand_in): original for stand_in, original in self._on_offer.values()}
        for variables in () if names else self._takers.values():
            variables.update({name: originals[id(v)] for name, v in variables.items() if id(v) in originals})
