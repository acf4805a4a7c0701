"""A stand-in for Pulumi's AWS provider: strict about what it is given, and real about what it makes."""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.cloud import schema
from tests.cloud.aws import Aws, CloudError, told_as
from tests.cloud.failures import Failures
from tests.cloud.handlers import FUNCTIONS, RESOURCES
from tests.cloud.handlers.base import Handler, Props, same_json
from tests.cloud.schema import Problem
from tests.cloud.wire import UNKNOWN, has_unknown

DEFAULTS = "__defaults"  # the inputs that Check filled in, as Pulumi's Terraform bridge records them
UNFINISHED = "__unfinished"


class NoHandlerError(LookupError):
    """A resource type or function that has no handler here."""


class UnfinishedError(CloudError):
    """The thing exists and is recorded, but a later call for it failed: the next update finishes it."""

    def __init__(self, id_: str, state: dict[str, Any], reason: str) -> None:
        super().__init__(reason)
        self.id = id_
        self.state = {**state, UNFINISHED: True}


@dataclass(frozen=True)
class Difference:
    """Which inputs changed, which of them replace the thing, and whether the old one must go first."""

    changed: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    delete_first: bool = False


@dataclass(frozen=True)
class Provider:
    """What the engine asks of a configured provider, on plain values."""

    aws: Aws
    failures: Failures

    def check(
        self, token: str, name: str, inputs: Props, old: Props, seed: bytes
    ) -> tuple[dict[str, Any], list[Problem]]:
        """The inputs with what the provider fills in, and everything that is wrong with them."""
        handler = handler_of(token)
        news = {key: value for key, value in inputs.items() if value is not None and key != DEFAULTS}
        found = [
            (key, f"the stand-in provider does not know {token}'s input {key!r}")
            for key in sorted(news.keys() - handler.known())
        ]
        if not found:
            found = [*schema.object_problems(news, schema.resource_args(token)), *handler.problems(news)]
        for key in handler.documents & news.keys():
            if isinstance(news[key], dict) and not has_unknown(news[key]):
                news[key] = json.dumps(news[key])
        if handler.named and handler.named not in news and handler.prefixed not in news:
            kept = old.get(handler.named) if handler.named in old.get(DEFAULTS, []) else None
            news[handler.named] = kept or _autoname(handler, name, seed)
            news[DEFAULTS] = [handler.named]
        return news, found

    def diff(self, token: str, state: Props, old: Props, new: Props, ignored: Collection[str] = ()) -> Difference:
        handler = handler_of(token)
        keys = (old.keys() | new.keys()) - {DEFAULTS} - set(ignored)
        changed = {key for key in keys if not _same(handler, key, old.get(key), new.get(key))}
        if handler.tagged and state.get("tagsAll", {}) != self._tags(new) and "tags" not in ignored:
            changed.add("tagsAll")
        replaces = handler.replaced_by(old, new, frozenset(changed))
        # A name that the program chose is taken until the old holder is gone: the bridge then deletes first.
        fixed = handler.named and handler.named not in new.get(DEFAULTS, []) and handler.named not in changed
        return Difference(frozenset(changed), replaces, bool(replaces and fixed and handler.named in new))

    def create(self, token: str, inputs: Props) -> tuple[str, dict[str, Any]]:
        """Make it; CloudError if there is nothing, UnfinishedError if there is something to record."""
        handler = handler_of(token)
        props = self.planned(token, inputs)
        self.failures.before_create(token)
        with told_as(f"creating {token}"):
            id_ = handler.create(self.aws, props)
        try:
            with told_as(f"finishing {token} {id_}"):
                handler.finish(self.aws, id_, props)
                return id_, self._state(handler, id_, props)
        except CloudError as error:
            raise UnfinishedError(id_, props, str(error)) from error

    def read(self, token: str, id_: str, state: Props, inputs: Props) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Its state and inputs as AWS has them now, or None when it is gone."""
        handler = handler_of(token)
        with told_as(f"reading {token} {id_}"):
            outputs = handler.read(self.aws, id_, state)
        if outputs is None:
            return None
        now = _given({**state, **outputs, **self._own_tags(handler, inputs, outputs)})
        # An import has no inputs yet: then all that AWS knows are its inputs.
        keys = set(inputs) - {DEFAULTS} if inputs else set(handler.known())
        keys |= (
            {"tags"} if handler.tagged else set()
        )  # a tag put by hand is a difference even where none was asked for
        found = {key: now[key] for key in keys & now.keys()}
        return now, {**found, **({DEFAULTS: inputs[DEFAULTS]} if DEFAULTS in inputs else {})}

    def update(self, token: str, id_: str, state: Props, old: Props, new: Props) -> dict[str, Any]:
        """Change it in place to the new inputs."""
        handler = handler_of(token)
        props = self.planned(token, new)
        changed = self.diff(token, state, old, new).changed
        with told_as(f"updating {token} {id_}"):
            if state.get(UNFINISHED):
                handler.finish(self.aws, id_, props)
            if changed - {"tags", "tagsAll"} or (not handler.tagged and changed):
                handler.update(self.aws, id_, state, props, changed)
            if handler.tagged and state.get("tagsAll", {}) != props["tagsAll"]:
                gone = [key for key in state.get("tagsAll", {}) if key not in props["tagsAll"]]
                handler.retag(self.aws, id_, gone, props["tagsAll"])
            return self._state(handler, id_, {**state, **props}, dropped=old.keys() - new.keys())

    def delete(self, token: str, id_: str, state: Props) -> None:
        """Unmake it; a thing that is gone already is no error."""
        handler = handler_of(token)
        with told_as(f"deleting {token} {id_}"):
            if not handler.looks_first or handler.read(self.aws, id_, state) is not None:
                handler.delete(self.aws, id_, state)

    def invoke(self, token: str, args: Props) -> tuple[dict[str, Any], list[Problem]]:
        function = FUNCTIONS.get(token)
        if function is None:
            raise NoHandlerError(f"the stand-in provider has no function {token!r}")
        given = {key: value for key, value in args.items() if value is not None}
        types = schema.function_args(token)
        found = [
            (key, f"the stand-in provider does not know {token}'s argument {key!r}")
            for key in sorted(given.keys() - function.inputs)
        ]
        for key in given.keys() & types.keys():
            found += schema.problems(given[key], types[key], key)
        if found:
            return {}, found
        with told_as(f"calling {token}"):
            return function.run(self.aws, given), []

    def planned(self, token: str, inputs: Props) -> dict[str, Any]:
        """What is known of a thing's state before it is made: its inputs and all its tags."""
        handler = handler_of(token)
        return {**inputs, **({"tagsAll": self._tags(inputs)} if handler.tagged else {})}

    def planned_update(self, token: str, state: Props, old: Props, new: Props) -> dict[str, Any]:
        """What is known of its state before an update: what will change by itself is unknown."""
        changed = self.diff(token, state, old, new).changed
        unsettled = dict.fromkeys(handler_of(token).unsettled(new, changed), UNKNOWN)
        return {**state, **self.planned(token, new), **unsettled}

    def _tags(self, inputs: Props) -> Any:
        """As in pulumi-aws 7: `tags` stays as the program gave it, `tagsAll` has the provider's default tags too."""
        tags = inputs.get("tags", {})
        return UNKNOWN if has_unknown(tags) else {**self.aws.default_tags, **tags}

    def _state(self, handler: Handler, id_: str, props: Props, dropped: Collection[str] = ()) -> dict[str, Any]:
        outputs = handler.read(self.aws, id_, props)
        if outputs is None:
            raise CloudError(f"{handler.token} {id_} is gone as soon as it was made")
        # What AWS says wins over what was asked, except for tags: `tags` are the program's own.
        kept = {key: value for key, value in props.items() if key not in dropped and key != UNFINISHED}
        return _given({**kept, **outputs})

    def _own_tags(self, handler: Handler, inputs: Props, outputs: Props) -> dict[str, Any]:
        """Of the tags that AWS has, the program's own: those that are not just the provider's default ones."""
        if not handler.tagged:
            return {}
        own, default = inputs.get("tags", {}), self.aws.default_tags
        tags = {key: tag for key, tag in outputs["tagsAll"].items() if key in own or default.get(key) != tag}
        return {"tags": tags or None}


def handler_of(token: str) -> Handler:
    handler = RESOURCES.get(token)
    if handler is None:
        raise NoHandlerError(f"the stand-in provider has no resource type {token!r}")
    return handler


def _given(state: Props) -> dict[str, Any]:
    """Without what AWS says is not there."""
    return {key: value for key, value in state.items() if value is not None}


def _autoname(handler: Handler, name: str, seed: bytes) -> str:
    end = random.Random(seed or None).randbytes(4).hex()[:7]
    return f"{name.lower() if handler.named == 'bucket' else name}-{end}"


def _same(handler: Handler, key: str, old: Any, new: Any) -> bool:
    if key in handler.documents:
        return same_json(old, new)
    if key in handler.sets and isinstance(old, list) and isinstance(new, list):
        return sorted(map(_sortable, old)) == sorted(map(_sortable, new))
    return bool(old == new)


def _sortable(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
