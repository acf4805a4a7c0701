"""The function that a sweep calls: by name where another process can import it, and by value where it cannot."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.slot.by_value import header_of, to_bytes
from sweepfleet.slot.identity import digest, importable, name_of
from sweepfleet.slot.project_files import NOT_THE_PROJECTS

MAX_BYTES = 1_000_000  # of a function that travels: data belong into files, which every point reads for itself


@dataclass(frozen=True, slots=True)
class Function:
    """A function as a grid names it."""

    run: str  # module:function
    folder: Path  # from which its module is imported, or its script or notebook imports
    data: bytes | None = None  # the content of its file; None: it is imported by name

    def write(self, path: Path) -> None:
        """Write its file, unless an unchanged function is there. Side effect: makes the file's folder.

        Raises StorageError.
        """
        from sweepfleet.run.folder import storing, write_whole

        if self.data is None:
            return
        with contextlib.suppress(OSError):
            if header_of(path.read_bytes()) == header_of(self.data):
                return
        with storing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.data)


def function_of(function: Callable[..., Any], *, by_value: Sequence[ModuleType] = ()) -> Function:
    """How another process gets a function.

    Args:
        function: anything that can be called: of a module, a script, a notebook; a lambda, a closure, a method, a
            `functools.partial`.
        by_value: modules that travel with it, since they are not where it will run.

    Raises:
        UsageError: it cannot be called or pickled, or is larger than `MAX_BYTES`; says because of which variable.
    """
    if not callable(function):
        raise UsageError(f"sweep() needs a function, and {function!r:.80} is of type {type(function).__name__}.")
    name = importable(function)
    if name is not None and function.__module__ not in {module.__name__ for module in by_value}:
        folder = _imported_from(sys.modules[function.__module__])
        if folder is not None:
            return Function(name, folder)
    data = pickled(function, by_value)
    run = name_of(function)
    return Function(run, _folder(), to_bytes(data, name=run, code=digest(function)))


def pickled(function: Callable[..., Any], by_value: Sequence[ModuleType] = ()) -> bytes:
    """A function as bytes: its name where another process can import it, and what it refers to where not.

    Raises UsageError: it cannot be pickled, or is larger than `MAX_BYTES`; says because of which variable.
    """
    data = _pickled(function, by_value)
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{name_of(function)} is {len(data) / 1e6:.1f} MB with what it refers to{_largest(function)}; the limit "
            f"is {MAX_BYTES / 1e6:.0f} MB. Write the data to a file and read it in the function, or pass it as an "
            "argument."
        )
    return data


def _imported_from(module: ModuleType) -> Path | None:
    """The folder on `sys.path` of a user's module; the current folder for an installed one."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None if module.__name__ not in sys.builtin_module_names else Path.cwd()
    path = Path(file).resolve()
    if path.suffix != ".py" or not NOT_THE_PROJECTS.isdisjoint(path.parts):
        return Path.cwd()
    up = module.__name__.count(".") + (path.name == "__init__.py")
    folder = path.parents[up]
    return folder if any(Path(entry or ".").resolve() == folder for entry in sys.path) else None


def _folder() -> Path:
    """The script's folder, from which its imports come; of a notebook, a prompt or a tool, the current one."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not file or not Path(file).is_file():
        return Path.cwd()
    script = Path(file).resolve()
    # pytest's own script is in the environment, and so in a project that need not be that of the tests.
    programs = Path(sysconfig.get_path("scripts")).resolve()
    is_a_tool = script.parent == programs or not NOT_THE_PROJECTS.isdisjoint(script.parts)
    return Path.cwd() if is_a_tool else script.parent


def _pickled(function: Callable[..., Any], by_value: Sequence[ModuleType]) -> bytes:
    import cloudpickle

    from sweepfleet.slot import cloudpickled

    with contextlib.ExitStack() as stack:
        for module in by_value:
            cloudpickle.register_pickle_by_value(module)
            stack.callback(cloudpickle.unregister_pickle_by_value, module)
        try:
            return cloudpickled.dumps(function)
        except Exception as error:
            which = next((f" because of `{name}`" for name, value in _variables(function) if not _can(value)), "")
            raise UsageError(
                f"{name_of(function)} cannot be sent to another process{which}: {error}. Make it inside the "
                "function, or put the function into a module."
            ) from error


def _can(value: Any) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:  # noqa: BLE001 - whatever it raises, that is the answer
        return False
    return True


def _variables(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function refers to, by name."""
    if isinstance(function, functools.partial):
        yield from zip(map("argument {}".format, range(len(function.args))), function.args, strict=True)
        yield from function.keywords.items()
        yield from _variables(function.func)
    elif inspect.ismethod(function):
        yield "self", function.__self__
        yield from _variables(function.__func__)
    elif inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        yield from found.nonlocals.items()
        for name, value in found.globals.items():
            yield name, value
            if inspect.isfunction(value) and value is not function and importable(value) is None:
                yield from inspect.getclosurevars(value).globals.items()


def _largest(function: Any) -> str:
    import cloudpickle

    sizes = [(len(cloudpickle.dumps(value)), name) for name, value in _variables(function)]
    size, name = max(sizes, default=(0, ""))
    return f", `{name}` alone {size / 1e6:.1f} MB" if size > MAX_BYTES / 2 else ""
