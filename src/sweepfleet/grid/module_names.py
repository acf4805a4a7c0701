"""Names of Python targets: module:function, and suggestions where a path was written instead."""

from __future__ import annotations

import ast
import keyword
import os
from collections.abc import Iterator
from pathlib import Path

from sweepfleet.grid.project_root import project_around

_MOST_BYTES = 1_000_000  # of a file that is looked into


def is_target(run: str, folder: Path) -> bool:
    """Whether a text is module:function, dots allowed in both. `folder` is the grid file's."""
    module, colon, function = run.partition(":")
    is_file = module.endswith(".py") and _file(f"{module.replace('.', '/')}.py", folder) is None
    return bool(colon) and not is_file and _is_dotted(module) and _is_dotted(function)


def remedy(run: str, folder: Path) -> str:
    """What to write instead of `run`, from the files that are there. `folder` is the grid file's."""
    path, _, function = run.strip().replace("\\", "/").partition(":")
    function = function.strip(":() ")
    if path.endswith(".py") or "/" in path:
        return _of_path(path, function, folder)
    if _is_dotted(path):  # a module without a function, or a function after a dot
        for module, name in ((path, function), path.rpartition(".")[::2]):
            file = _file(f"{module.replace('.', '/')}.py", folder) if module else None
            if file is not None:
                return f"Write run: {module}:{_function(file, name)}."
    return "Write, for example, run: examples.diabetes.fit:fit."


def _of_path(path: str, function: str, folder: Path) -> str:
    file = _file(path if path.endswith(".py") else f"{path}.py", folder)
    if file is None:
        dotted = ".".join(part for part in path.removesuffix(".py").split("/") if part not in {"", ".", ".."})
        example = f"{dotted if _is_dotted(dotted) else 'fit'}:{function if _is_dotted(function) else 'fit'}"
        return f"Write, for example, run: {example}. There is no {path} beside the grid file or in its project."
    for base in _bases(folder):
        dotted = os.path.relpath(file, base).removesuffix(".py").replace(os.sep, ".")
        if _is_dotted(dotted):
            return f"Write run: {dotted}:{_function(file, function)}."
    script = os.path.relpath(file, folder)
    return f"Python cannot import a file of that name or place. Rename it, or write command: [python, {script}]."


def _file(path: str, folder: Path) -> Path | None:
    """The file that a path names from the grid's folder, the project's root or a folder between."""
    if Path(path).is_absolute():
        return Path(path) if Path(path).is_file() else None
    return next((file for base in _upwards(folder) if (file := Path(os.path.normpath(base / path))).is_file()), None)


def _bases(folder: Path) -> list[Path]:
    """The folders from which modules are imported: the grid file's, and the project's root."""
    *_, root = _upwards(folder)
    return [folder, root]


def _upwards(folder: Path) -> Iterator[Path]:
    """The folders from the grid file's up to its project's root; only the first where there is no project."""
    root = project_around(folder) or folder
    yield from (place for place in (folder, *folder.parents) if place.is_relative_to(root))


def _function(file: Path, asked: str) -> str:
    """The function to suggest: the one that was named, or else the most likely one of the file."""
    if _is_dotted(asked):
        return asked
    try:
        tree = ast.parse(file.read_bytes() if file.stat().st_size <= _MOST_BYTES else b"")
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return "fit"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    likely = [name for name in (file.stem, "main", "run", "train", "fit", "objective") if name in names]
    return next(iter([*likely, *names]), "fit")


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))
