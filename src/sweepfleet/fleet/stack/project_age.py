"""Whether a project's own files have all that this version's `init` writes: an upgrade of the package changes none.

What is added to them, and how they are laid out, is the user's affair.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweepfleet.fleet.stack.doctor import Finding
from sweepfleet.fleet.stack.pulumi_cli import OLDEST
from sweepfleet.grid.wording import counted
from sweepfleet.grid.yamlfile import Reading, YamlError, compose
from sweepfleet.scaffold import PIPELINES, template

PARTS = "sweepfleet.infra.cluster"  # what an infra/__main__.py imports
ALL_PARTS = "Cluster"  # all of them in one
CALL = re.compile(r"\b(?:inv|invoke|sweepfleet) (?:[\w-]+\.)*?(ci\.[\w-]+)")
PERMISSION = re.compile(r"[a-z-]+: write")
MAIN, PROGRAM, ACCOUNT, VERSION = "Pulumi.yaml", "infra/__main__.py", "account/Pulumi.yaml", ".pulumi.version"


def examine_project(root: Path, *, tasks: Collection[str]) -> Iterator[Finding]:
    """Compare the files of the project at `root` with what this version needs of them; reads only.

    Args:
        root: the project's.
        tasks: that this version has, by their names.
    """
    if not (root / MAIN).exists():
        yield Finding(MAIN, f"{root} has none", good=False, fix="sweepfleet init --cluster")
        return
    found: dict[str, list[str]] = {}
    main = _settings(root, MAIN, found.setdefault(MAIN, []))
    folder = str(main.get("main") or Path(PROGRAM).parent)
    _program(root / folder, found.setdefault(f"{folder}/__main__.py", []))
    if (root / "tasks.py").exists():
        _imports(root / "tasks.py", found.setdefault("tasks.py", []))
    if (root / ACCOUNT).exists():
        _settings(root, ACCOUNT, found.setdefault(ACCOUNT, []))
        _imports(root / "account" / "__main__.py", found[ACCOUNT])
    for forge in PIPELINES:
        _pipeline(root, forge, tasks, found)
    for name, problems in found.items():
        if problems:
            yield Finding(name, "is of an older version, or lacks something", good=False, fix="\n".join(problems))
    if not any(found.values()):
        yield Finding("project's files", f"{counted(len(found), 'file')} with all that this version needs")


def _settings(root: Path, name: str, problems: list[str]) -> dict[str, Any]:
    """A Pulumi project's file: what of it every project has alike, and the settings that it declares."""
    try:
        theirs = _yaml((root / name).read_text())
    except (OSError, ValueError, YamlError) as error:
        problems.append(f"{name} cannot be read: {error}")
        return {}
    text = template(name).decode()
    ours = _yaml(text)
    if theirs.get("name") != ours["name"]:  # settings and rights are under this name
        problems.append(f"name is {theirs.get('name')!r}. Write: name: {ours['name']}")
    if name == MAIN and not theirs.get("main"):
        problems.append(
            f"main is missing: it keeps the project's own files from Python's path. Add: main: {ours['main']}"
        )
    runtime = theirs.get("runtime")
    options = runtime.get("options") if isinstance(runtime, dict) else None
    if not (isinstance(options, dict) and options.get("toolchain")):
        problems.append(
            "runtime has no toolchain, so Pulumi may run another Python than the project's. Write:\n"
            "runtime:\n  name: python\n  options:\n    toolchain: uv"
        )
    declared = theirs.get("config")
    missing = [key for key in ours["config"] if not isinstance(declared, dict) or key not in declared]
    if missing:
        blocks = "\n".join(_block(text, key) for key in missing)
        problems.append(f"config has no {', '.join(missing)}. Add to it:\n{blocks}")
    return theirs


def _yaml(text: str) -> dict[str, Any]:
    node = compose(text)
    data = Reading().value(node) if node is not None else {}
    return data if isinstance(data, dict) else {}


def _block(text: str, key: str) -> str:
    """A setting's own lines in a template."""
    found = re.search(rf"^  {re.escape(key)}:\n(?:    .*\n)+", text, re.MULTILINE)
    return found[0].rstrip("\n") if found else f"  {key}:"


def _program(folder: Path, problems: list[str]) -> None:
    """The cluster's program: that it declares each part, of all that the part stands on."""
    trees = [tree for file in sorted(folder.glob("*.py")) if (tree := _imports(file, problems)) is not None]
    if not (folder / "__main__.py").exists():
        problems.append("It does not exist. Write it: sweepfleet init --cluster")
        return
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if ALL_PARTS in used:
        return
    text = template(PROGRAM).decode()
    ours = ast.parse(text)
    theirs = _calls(trees)
    for name, call in _calls([ours]).items():
        line = ast.get_source_segment(text, call[0])
        written = next((one for one in text.splitlines() if line and line in one), line)
        if name not in used:
            problems.append(f"It does not declare {name}. Import it from {PARTS}, and add: {written}")
        elif name in theirs and all(_given(one) < _given(call[0]) for one in theirs[name]):
            problems.append(f"{name} is given {_given(theirs[name][0])} of {_given(call[0])} parts. Write: {written}")


def _calls(trees: Collection[ast.Module]) -> dict[str, list[ast.Call]]:
    """The calls of what a program imports of the parts, by their names there."""
    imported = {
        alias.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == PARTS
        for alias in node.names
    }
    found: dict[str, list[ast.Call]] = {}
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(getattr(called, "value", None), "id", "")
        if name in imported:
            found.setdefault(name, []).append(node)
    return found


def _given(call: ast.Call) -> float:
    """The number of arguments of a call; of one with `*` or `**`, any."""
    starred = any(isinstance(one, ast.Starred) for one in call.args) or any(one.arg is None for one in call.keywords)
    return float("inf") if starred else len(call.args) + len(call.keywords)


def _imports(file: Path, problems: list[str]) -> ast.Module | None:
    """A file's tree; what it imports of the package and this version does not have is a problem."""
    try:
        tree = ast.parse(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, SyntaxError, ValueError) as error:
        problems.append(f"{file.name} cannot be read: {error}")
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "sweepfleet":
            names = _names_of(str(node.module))
            lacking = [one.name for one in node.names if names is None or one.name not in (*names, "*")]
            if lacking:
                problems.append(
                    f"{file.name}, line {node.lineno}: this version has no {', '.join(lacking)} in {node.module}. "
                    "See CHANGELOG.md, or compare with what sweepfleet init writes into an empty folder."
                )
    return tree


def _names_of(module: str) -> set[str] | None:
    """What can be imported of a module of the package; nothing of it is run. None: there is no such module."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    names: set[str] = set()
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        else:
            names |= {
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            }
    for place in spec.submodule_search_locations or ():
        names |= {path.stem for path in Path(place).iterdir() if path.suffix == ".py" or path.is_dir()}
    return names


def _pipeline(root: Path, forge: str, tasks: Collection[str], found: dict[str, list[str]]) -> None:
    """A forge's workflows, where there are any: that they have each job, with the rights that its task needs."""
    texts = {name: template(name, forge=forge).decode() for name in PIPELINES[forge]}
    texts = {name: text for name, text in texts.items() if CALL.search(text)}
    folders = {(root / name).parent for name in texts}
    files = [file for folder in folders for file in folder.glob("*.y*ml")] if root not in folders else []
    files += [root / name for name in texts if root in folders and (root / name).exists()]
    theirs = "\n".join(file.read_text(errors="replace") for file in sorted(files))
    called = set(CALL.findall(theirs))
    if not called:
        return
    fix = f"sweepfleet init --pipeline {forge}"
    for name, text in texts.items():
        problems = found.setdefault(name, [])
        there = (root / name).exists()
        again = f"Rename it, then: {fix}; then carry over what is yours" if there else f"Write it: {fix}"
        for task in sorted(set(CALL.findall(text)) - called):
            problems.append(f"No job calls {task}. {again}")
        lacking = sorted(set(PERMISSION.findall(text)) - set(PERMISSION.findall(theirs)))
        if lacking and not problems:
            problems.append(f"No job has the permission {', '.join(lacking)}. {again}")
    where = next(iter(texts))
    for task in sorted(called - set(tasks)):
        found[where].append(f"A job calls {task}, which this version does not have. All tasks: inv --list")
    if VERSION in theirs:
        _version(root / VERSION, found.setdefault(VERSION, []), fix)


def _version(file: Path, problems: list[str], fix: str) -> None:
    try:
        version = tuple(map(int, file.read_text().strip().split(".")))
    except FileNotFoundError:
        problems.append(f"It does not exist, and workflows read it. Write it: {fix}")
    except ValueError:
        problems.append(f"It has no version such as {template(VERSION).decode().strip()}")
    else:
        if version < OLDEST:
            problems.append(
                f"It is too old: Pulumi {'.'.join(map(str, OLDEST))} is needed. "
                f"Write {template(VERSION).decode().strip()}"
            )
