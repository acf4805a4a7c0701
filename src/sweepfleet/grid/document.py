"""A grid file's text as plain data, with what the command line changes in it; W&B's own files as W&B reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ruamel.yaml.nodes import Node

from sweepfleet.grid import overrides as command_line
from sweepfleet.grid.errors import Problem
from sweepfleet.grid.plan import Value
from sweepfleet.grid.scalars import CORE, PYYAML, Scalars
from sweepfleet.grid.wandb import is_sweep_file, numbers_in_laws
from sweepfleet.grid.wording import show
from sweepfleet.grid.yamlfile import Path, Reading, YamlError, compose


@dataclass
class Document:
    """A document that was read; `problems` are its mistakes so far."""

    root: Node
    data: dict[str, Value]
    wandb: bool  # one of W&B's own files
    typed: dict[Path, str] = field(default_factory=dict)  # what the command line set, and the text that did it
    problems: list[Problem] = field(default_factory=list)
    odd: dict[Path, tuple[str, Value]] = field(default_factory=dict)  # words that YAML 1.2 reads otherwise

    @property
    def scalars(self) -> Scalars:
        """How its unquoted words are read."""
        return PYYAML if self.wandb else CORE

    def text(self, without: Sequence[Path]) -> str:
        """The text of the changed tree, less these entries of its lists."""
        return command_line.text_of(command_line.without(self.root, without), self.scalars)


def read(text: str, *, overrides: Sequence[str] = ()) -> Document:
    """The document of a text. Raises YamlError when it cannot be read, or is not a map."""
    plain = _read(text, wandb=False)
    wandb = is_sweep_file(plain.data)
    document = _changed(_read(text, wandb=True) if wandb else plain, overrides)
    if is_sweep_file(document.data) is not wandb:  # the command line made it one, or no longer one
        document = _changed(_read(text, wandb=not wandb), overrides)
    if document.wandb:
        numbers_in_laws(document.data, document.odd)
    return document


def _read(text: str, *, wandb: bool) -> Document:
    scalars = PYYAML if wandb else CORE
    root = compose(text, scalars)
    reading = Reading(scalars)
    data = reading.value(root) if root is not None else None
    if root is None or not isinstance(data, dict):
        seen = "The file is empty." if data is None else f"The file contains {show(data)}, not a map of keys."
        remedy = "Write `run: module:function` and `parameters:`, as docs/grid.md shows."
        raise YamlError(Problem("", seen, remedy, None if data is None else 1))
    return Document(root, data, wandb, problems=reading.problems, odd=reading.odd)


def _changed(document: Document, overrides: Sequence[str]) -> Document:
    if not overrides:
        return document
    root, typed, problems = command_line.apply(
        document.root, data=document.data, overrides=overrides, scalars=document.scalars
    )
    reading = Reading(document.scalars)
    data = reading.value(root)
    return Document(root, data, document.wandb, typed, [*document.problems, *problems], reading.odd)
