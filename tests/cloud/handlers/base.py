"""What a resource type's handler says of itself, and the little that most of them share."""
# ruff: noqa: ARG002 - a handler takes what the base class says

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from tests.cloud.aws import Aws, tag_list
from tests.cloud.schema import Problem

Props = Mapping[str, Any]


class Handler:
    """One resource type: the inputs it knows, those whose change replaces it, and how to make, see and unmake it.

    `create` makes the thing and returns its id; `finish` does the rest that AWS wants in calls of its own, and can
    be done again; `read` says what AWS has now, or None when the thing is gone; `update` is told which inputs
    changed. `props["tagsAll"]` are the tags to put: the provider's default ones and the resource's own.
    """

    token: ClassVar[str]
    inputs: ClassVar[frozenset[str]] = frozenset()
    replaces: ClassVar[frozenset[str]] = frozenset()
    sets: ClassVar[frozenset[str]] = frozenset()  # lists whose order says nothing
    documents: ClassVar[frozenset[str]] = frozenset()  # JSON, compared by what it says
    tagged: ClassVar[bool] = False
    named: ClassVar[str | None] = None  # the input that Pulumi fills with the resource's name and a random end
    looks_first: ClassVar[bool] = True  # whether it deletes only what is still there
    prefixed: ClassVar[str | None] = None  # the input that gives the start of a name instead
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = ()  # inputs of which at most one may be given

    def known(self) -> frozenset[str]:
        return self.inputs | ({"tags"} if self.tagged else frozenset())

    def problems(self, props: Props) -> Iterator[Problem]:
        """What the provider's own checks say, beyond types."""
        for group in self.exclusive:
            given = [key for key in group if props.get(key) is not None]
            if len(given) > 1:
                yield given[1], f"conflicts with {given[0]}"

    def replaced_by(self, old: Props, new: Props, changed: frozenset[str]) -> frozenset[str]:
        """Those of the changed inputs that a thing in place cannot take."""
        return changed & self.replaces

    def create(self, aws: Aws, props: Props) -> str:
        raise NotImplementedError

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        """Nothing, for a type that one call makes."""

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        raise NotImplementedError

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Nothing, for a type whose every change replaces it or concerns the provider alone."""

    def unsettled(self, new: Props, changed: frozenset[str]) -> frozenset[str]:
        """The outputs that such an update will change by itself, which a preview cannot know."""
        return frozenset()

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        raise NotImplementedError

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        raise NotImplementedError

    def name_of(self, props: Props) -> str:
        """The given name, or the given start of one with an end that no other has."""
        assert self.named
        if props.get(self.named):
            return str(props[self.named])
        return f"{props.get(self.prefixed or '', 'terraform-')}{secrets.token_hex(13)}"


class Ec2Handler(Handler):
    """A type that EC2 tags: at creation through its specification, later by its id."""

    tagged = True
    resource_type: ClassVar[str]

    def specification(self, props: Props) -> dict[str, Any]:
        """The TagSpecifications argument, left out when there are no tags: AWS refuses an empty one."""
        tags = tag_list(props.get("tagsAll"))
        return {"TagSpecifications": [{"ResourceType": self.resource_type, "Tags": tags}]} if tags else {}

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        if gone:
            aws.ec2.delete_tags(Resources=[id_], Tags=[{"Key": key} for key in gone])
        if tags:
            aws.ec2.create_tags(Resources=[id_], Tags=tag_list(tags))


def picked(props: Props, **names: str) -> dict[str, Any]:
    """Those of the inputs that are given, under AWS's names: picked(props, size="Size")."""
    return {aws_name: props[key] for key, aws_name in names.items() if props.get(key) is not None}


def pascal(value: Any) -> Any:
    """Nested inputs under AWS's names, which differ from Pulumi's by their capital alone."""
    if isinstance(value, list):
        return [pascal(each) for each in value]
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: pascal(each) for key, each in value.items()}
    return value


def lower(value: Any) -> Any:
    """The way back: AWS's answer under Pulumi's names."""
    if isinstance(value, list):
        return [lower(each) for each in value]
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: lower(each) for key, each in value.items()}
    return value


def same_json(one: Any, other: Any) -> bool:
    return bool(_loaded(one) == _loaded(other))


def _loaded(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def only(found: list[Any]) -> Any:
    """The one thing that was asked for, or None."""
    return found[0] if found else None
