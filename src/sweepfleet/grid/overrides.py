"""What the command line changes in a grid file: `--set alpha=0.1,1`, applied to its tree of nodes.

Working on nodes keeps the file's comments, and its words exactly as they are written.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tag import Tag

from sweepfleet.grid.errors import Problem
from sweepfleet.grid.plan import Value
from sweepfleet.grid.scalars import CORE, Scalars
from sweepfleet.grid.spec import GridFile
from sweepfleet.grid.validate import keys_of
from sweepfleet.grid.wording import nearest, show
from sweepfleet.grid.yamlfile import Path, Reading, YamlError, compose, dump, pairs

_CORE = "tag:yaml.org,2002:"


def apply(
    root: Node | None,
    *,
    data: dict[str, Value],
    overrides: Sequence[str],
    scalars: Scalars = CORE,
) -> tuple[Node, dict[Path, str], list[Problem]]:
    """The changed tree, what was typed for each changed path, and the problems."""
    tree: Node = root if root is not None else _map()
    typed: dict[Path, str] = {}
    problems: list[Problem] = []
    for override in overrides:
        said = f"--set {override}"
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key or not text.strip():
            problems.append(Problem(said, "This is not key=value.", "Write, for example, --set alpha=0.1,1."))
            continue
        paths = list(_parameter_paths(data, key))
        first = key.split(".", maxsplit=1)[0]
        try:
            if paths:
                value = _values(text, scalars)
            elif first.replace("-", "_") in keys_of(GridFile):
                paths, value = [tuple(key.split("."))], _flow(text, scalars)
            else:
                problems.append(_unknown(said, key, data))
                continue
        except YamlError as error:
            seen = error.problems[0].message
            problems.append(Problem(said, seen, "Put text with commas, colons or brackets into quotes."))
            continue
        for path in paths:
            tree = _set(tree, path, value)
            typed[path] = said
    return tree, typed, problems


def text_of(tree: Node, scalars: Scalars = CORE) -> str:
    """The YAML text of a changed tree, with its comments so long as they leave its meaning alone."""
    meant = Reading(scalars).value(tree)
    try:
        text = dump(tree, scalars)
        again = compose(text, scalars)
        if again is not None and repr(Reading(scalars).value(again)) == repr(meant):
            return text
    except YamlError:
        pass
    _strip_comments(tree, set())
    return dump(tree, scalars)


def without(tree: Node, paths: Sequence[Path]) -> Node:
    """A copy of a tree that lacks these entries of its lists."""
    for *outer, number in sorted(paths, key=lambda path: path[-1], reverse=True):
        entries = tree
        for step in outer:
            entries = entries.value[step] if isinstance(step, int) else dict_of(entries)[step]
        shorter = copy.copy(entries)
        shorter.value = [item for at, item in enumerate(entries.value) if at != number]
        tree = _set(tree, tuple(outer), shorter)
    return tree


def dict_of(node: Node) -> dict[str, Node]:
    """A map's nodes by key."""
    return {str(key.value): item for key, item in pairs(node)} if isinstance(node, MappingNode) else {}


def _unknown(said: str, key: str, data: dict[str, Value]) -> Problem:
    zips = data.get("zip")
    for name, members in zips.items() if isinstance(zips, dict) else ():
        if isinstance(members, dict) and key in members:
            remedy = f"Set the whole zip: --set 'zip.{name}={{{', '.join(f'{m}: [...]' for m in members)}}}'."
            return Problem(said, f"{key} is part of the zip {name} and cannot change alone.", remedy)
    known = [*_names(data.get("parameters")), *keys_of(GridFile)]
    return Problem(said, f"{show(key)} is neither a parameter nor a key.", nearest(key, known, what="names"))


def _parameter_paths(data: dict[str, Value], name: str) -> Iterator[Path]:
    """Where a parameter is written: at the top, and in every block of `grids`."""
    yield from _within(data.get("parameters"), name, ("parameters",))
    blocks = data.get("grids")
    for number, block in enumerate(blocks if isinstance(blocks, list) else ()):
        if isinstance(block, dict):
            yield from _within(block.get("parameters"), name, ("grids", number, "parameters"))


def _within(parameters: Value, name: str, path: Path) -> Iterator[Path]:
    for key, spec in parameters.items() if isinstance(parameters, dict) else ():
        if key == name:
            yield (*path, key)
        elif isinstance(spec, dict) and name.startswith(f"{key}."):
            yield from _within(spec.get("parameters"), name.removeprefix(f"{key}."), (*path, key, "parameters"))


def _names(parameters: Value) -> list[str]:
    names: list[str] = []
    for key, spec in parameters.items() if isinstance(parameters, dict) else ():
        inner = _names(spec.get("parameters")) if isinstance(spec, dict) else []
        names.extend([f"{key}.{name}" for name in inner] or [key])
    return names


def _values(text: str, scalars: Scalars) -> Node:
    """A parameter's new values: 0.1,1 is [0.1, 1]; a list or map in YAML's flow style is itself."""
    sequence = _flow(f"[{text}]", scalars)
    if (
        isinstance(sequence, SequenceNode)
        and len(sequence.value) == 1
        and isinstance(sequence.value[0], SequenceNode | MappingNode)
    ):
        only: Node = sequence.value[0]
        return only
    return sequence


def _flow(text: str, scalars: Scalars) -> Node:
    """The node of a text in YAML's flow style. Raises YamlError."""
    node = compose(text, scalars)
    if node is None:
        raise YamlError(Problem("", "The value is missing.", ""))
    reading = Reading(scalars)
    reading.value(node)
    if reading.problems:
        raise YamlError(*reading.problems)
    return node


def _text(value: str) -> ScalarNode:
    return ScalarNode(Tag(suffix=f"{_CORE}str"), value)


def _list(items: list[Node]) -> SequenceNode:
    return SequenceNode(Tag(suffix=f"{_CORE}seq"), items, flow_style=True)


def _map() -> MappingNode:
    return MappingNode(Tag(suffix=f"{_CORE}map"), [], flow_style=False)


def _set(node: Node | None, path: Path, value: Node) -> Node:
    """A copy of a tree with another node at a path; maps on the way are made where there are none."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(node, SequenceNode) and isinstance(step, int):
        changed = copy.copy(node)
        changed.value = [_set(item, rest, value) if at == step else item for at, item in enumerate(node.value)]
        return changed
    inside = node if isinstance(node, MappingNode) else _map()
    old = next((item for key, item in reversed(list(pairs(inside))) if key.value == step), None)
    new = _set(old, rest, value)
    copied = copy.copy(inside)
    copied.value = [(key, new if key.value == step else item) for key, item in inside.value]
    if all(key.value != step for key, _ in inside.value):
        copied.value.append((_text(str(step)), new))
    return copied


def _strip_comments(node: Any, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    node.comment = None
    if not isinstance(node, ScalarNode):
        for child in node.value:
            for part in child if isinstance(child, tuple) else (child,):
                _strip_comments(part, seen)
