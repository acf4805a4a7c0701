"""Reads YAML text as plain values, with the line of every key; any text gives problems, never a crash.

Unquoted words are read by one of the schemas of `grid.scalars`. Tags other than the core ones, duplicate keys, keys
that are no text and hostile sizes are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from sweepfleet.grid.errors import Problem
from sweepfleet.grid.plan import Value
from sweepfleet.grid.scalars import CORE, PYYAML, Scalars

Path = tuple[str | int, ...]  # of keys and list positions, from the top of the file

MAX_BYTES = 10_000_000
MAX_DEPTH = 50
MAX_VALUES = 250_000  # written out, or made by aliases: some seconds of reading

_TAGS = "tag:yaml.org,2002:"


class YamlError(Exception):
    """A text that cannot be read; has the problems."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class _CoreSchema(VersionedResolver):
    """ruamel.yaml's resolver with a schema of ours in place of its wider one."""

    scalars = CORE

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode:
            return Tag(suffix=_TAGS + (self.scalars.tag(value) if implicit[0] else "str"))
        return super().resolve(kind, value, implicit)


class _PyyamlSchema(_CoreSchema):
    scalars = PYYAML


def _reader(scalars: Scalars) -> Any:
    yaml: Any = YAML(typ="rt", pure=True)
    yaml.Resolver = _PyyamlSchema if scalars is PYYAML else _CoreSchema
    yaml.max_depth = MAX_DEPTH
    yaml.brace_single_entry_mapping_in_flow_sequence = True  # [{a: 1}], not [a: 1]
    yaml.width = 1 << 30  # a long line stays one line
    return yaml


def compose(text: str, scalars: Scalars = CORE) -> Node | None:
    """The tree of nodes of one YAML document; None for an empty one. Raises YamlError."""
    if len(text) > MAX_BYTES:
        raise YamlError(_too_large(f"has {len(text):,} characters; {MAX_BYTES:,} are allowed"))
    if text.count(",") + text.count("\n") > MAX_VALUES:
        raise YamlError(_too_large(f"lists more than {MAX_VALUES:,} values"))
    try:
        node: Node | None = _reader(scalars).compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        seen = f"The character U+{code:04X} is not allowed in YAML."
        raise YamlError(Problem("", seen, 'Remove it, or write it as "\\u....".', line)) from None
    except MarkedYAMLError as error:
        raise YamlError(_not_yaml(error)) from None
    except (YAMLError, ValueError, IndexError, AttributeError, TypeError, AssertionError, RecursionError):
        # ruamel.yaml meets some broken texts with errors of Python's own
        raise YamlError(Problem("", "This is not valid YAML.", "Check its quotes and brackets.")) from None
    return node


def dump(node: Node, scalars: Scalars = CORE) -> str:
    """The YAML text of a tree of nodes, comments included."""
    stream = io.StringIO()
    _reader(scalars).serialize(node, stream)
    return stream.getvalue()


def _too_large(seen: str) -> Problem:
    return Problem("", f"The file {seen}.", "Write range or linspace, or put the rows into a `points` file.")


def _not_yaml(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    reason = " ".join((error.problem or error.context or "it cannot be read").split())
    remedy = "Check the indentation, quotes and brackets here."
    if "maximum depth" in reason:
        reason, remedy = f"it has more than {MAX_DEPTH} levels", "Use fewer levels."
    elif "\\t" in reason:
        remedy = "Indent with spaces, not with tabs."
    elif "got '{'" in reason:
        remedy = 'Put a word that has { in it into quotes, such as "--alpha={alpha}".'
    elif "'`'" in reason:
        remedy = "Put text that starts with a backtick into double quotes."
    elif "mapping values" in reason:
        remedy = 'Put text that has ": " in it into quotes, and check the indentation.'
    elif "another document" in reason:
        remedy = "One document is allowed: remove the `---` and what follows it."
    return Problem("", f"This is not valid YAML: {reason}.", remedy, mark.line + 1 if mark else None)


def line_of(node: Node) -> int | None:
    """The line on which a node starts; None for a node that no file has."""
    return node.start_mark.line + 1 if node.start_mark is not None else None


def pairs(node: MappingNode, depth: int = 0) -> Iterator[tuple[Node, Node]]:
    """A map's keys and values, the last of a key counts: merged ones (`<<: *base`) first, then its own."""
    for key, value in node.value if depth < MAX_DEPTH else ():
        if _is_merge(key):
            sources = value.value[::-1] if isinstance(value, SequenceNode) else [value]
            for source in sources:
                if isinstance(source, MappingNode):
                    yield from pairs(source, depth + 1)
    yield from ((key, value) for key, value in node.value if not _is_merge(key))


def _is_merge(key: Node) -> bool:
    return isinstance(key, ScalarNode) and key.value == "<<" and not key.style


@dataclass(slots=True)
class Reading:
    """Turns nodes into values; collects what is wrong with them instead of stopping at the first.

    `odd` are the unquoted words that YAML 1.2 reads otherwise, with the value that they have.
    """

    scalars: Scalars = CORE
    odd: dict[Path, tuple[str, Value]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _count: int = 0

    def value(self, node: Node, path: Path = ()) -> Value:
        """The plain value of a node. Raises YamlError when it expands without limit."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise YamlError(_too_large(f"expands to more than {MAX_VALUES:,} values"))
        if len(path) > MAX_DEPTH:
            seen = f"This has more than {MAX_DEPTH} levels, or contains itself."
            raise YamlError(Problem("", seen, "Use fewer levels.", line_of(node)))
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if not isinstance(node, MappingNode):
            self._check_tag(node, path, "seq")
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        self._check_tag(node, path, "map")
        self._check_repeats(node, path)
        values: dict[str, Value] = {}
        for key, item in pairs(node):
            name = self._key(key, path)
            if name is not None:
                values[name] = self.value(item, (*path, name))
        return values

    def _scalar(self, node: ScalarNode, path: Path) -> Value:
        tag = str(node.tag)
        if any("\ud800" <= letter <= "\udfff" for letter in node.value):
            self._add(
                path, "The text has an unpaired surrogate (\\uD800 to \\uDFFF).", "Write the whole character.", node
            )
            return "?"  # pydantic can neither check nor name such text
        try:
            value = self.scalars.typed(tag.removeprefix(_TAGS) if tag.startswith(_TAGS) else tag, node.value)
            if self.scalars is not CORE and not node.style and repr(CORE.value(node.value)) != repr(value):
                self.odd[path] = (node.value, value)
            return value  # noqa: TRY300  (what raises is the reading)
        except ValueError:
            kind = tag.removeprefix(_TAGS)
            seen = f"{node.value[:40]!r} cannot be read as {kind}."
            self._add(path, seen, "Write fewer digits, or put it in quotes as text.", node)
        except KeyError:
            self._add(path, f"The tag {tag} is not supported.", "Remove it, or quote the value as text.", node)
        return node.value

    def _check_tag(self, node: Node, path: Path, kind: str) -> None:
        if str(node.tag) != _TAGS + kind:
            self._add(path, f"The tag {node.tag} is not supported.", "Remove it.", node)

    def _check_repeats(self, node: MappingNode, path: Path) -> None:
        seen: dict[str, Node] = {}
        for key, value in node.value:
            if _is_merge(key):
                sources = value.value if isinstance(value, SequenceNode) else [value]
                if not all(isinstance(source, MappingNode) for source in sources):
                    self._add(path, "`<<` merges maps only.", "Give it the alias of a map: `<<: *base`.", key)
            elif isinstance(key, ScalarNode) and key.value in seen:
                first = line_of(seen[key.value])
                at = f" on line {first}" if first is not None else ""
                message = f"The key is given twice; the first one is{at or ' above'}."
                self._add((*path, key.value), message, "Remove one of the two.", key)
            elif isinstance(key, ScalarNode):
                seen[key.value] = key

    def _key(self, key: Node, path: Path) -> str | None:
        name = self.value(key, path) if isinstance(key, ScalarNode) else None
        if isinstance(name, str):
            return name
        if isinstance(key, ScalarNode) and key.value:
            self._add(path, f"The key {key.value[:40]} is not text.", f'Put it in quotes: "{key.value[:40]}".', key)
        else:
            self._add(path, "A key is empty, or a list or map.", "Write a word as the key.", key)
        return None

    def _add(self, path: Path, message: str, remedy: str, node: Node) -> None:
        self.problems.append(Problem(key_text(path), message, remedy, line_of(node)))


def key_text(path: Sequence[str | int]) -> str:
    """A path as it is written in a message: grids[0].parameters.alpha."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def find(node: Node | None, path: Path) -> tuple[Node | None, int]:
    """The node to point at for a path, a map's key where there is one, and how many steps of it were found."""
    pointed = node
    for depth, part in enumerate(path):
        if isinstance(node, MappingNode):
            found = [pair for pair in pairs(node) if str(pair[0].value) in {part, str(part).replace("_", "-")}]
            if not found:
                return pointed, depth
            pointed, node = found[-1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            pointed = node = node.value[part]
        else:
            return pointed, depth
    return pointed, len(path)
