"""What pulumi-aws says its resources and functions take: its own classes, read as a schema."""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pulumi
import pulumi_aws
from pulumi import _types

from tests.cloud.wire import UNKNOWN

Problem = tuple[str, str]  # the property's path, and what is wrong with it


def bare_packages() -> None:
    """Have this process import only what it asks for of pulumi-aws, whose packages import all that is in them."""
    for folder in Path(pulumi_aws.__file__).parent.iterdir():
        if (folder / "__init__.py").exists():
            bare = ModuleType(f"{pulumi_aws.__name__}.{folder.name}")
            bare.__path__ = [str(folder)]
            sys.modules[bare.__name__] = bare


@cache
def resource_args(token: str) -> type:
    """The args class of a resource type, such as VpcArgs for aws:ec2/vpc:Vpc; LookupError when there is none."""
    _, path, name = token.split(":")
    own = vars(_module(path))
    if getattr(own.get(name), "pulumi_type", None) != token:
        raise LookupError(f"pulumi_aws has no {token!r}")
    # <Name>Args is taken where a nested type of another resource has that name: then it is <Name>InitArgs.
    return own.get(f"{name}InitArgs") or own[f"{name}Args"]  # type: ignore[no-any-return]


@cache
def function_args(token: str) -> Mapping[str, Any]:
    """The argument types of a function such as aws:ec2/getAmi:getAmi, by Pulumi's names for them."""
    _, path, name = token.split(":")
    module = _module(path)
    function = getattr(module, snake(name))
    if f"'{token}'" not in inspect.getsource(function):
        raise LookupError(f"{module.__name__}.{function.__name__} does not invoke {token!r}")
    hints = typing.get_type_hints(function)
    return {camel(name): hint for name, hint in hints.items() if name not in {"opts", "return"}}


def _module(path: str) -> ModuleType:
    """The module of a token's middle part, such as pulumi_aws.ec2.get_ami for `ec2/getAmi`."""
    names = [snake(part) for part in path.split("/") if part != "index"]
    try:
        return importlib.import_module(".".join([pulumi_aws.__name__, *names]))
    except ModuleNotFoundError as error:
        raise LookupError(f"pulumi_aws has no {path}: {error}") from None


@cache
def fields(cls: type) -> Mapping[str, Any]:
    """Pulumi's names of an input class's properties, each with its type."""
    return _types.input_type_types(cls)


@cache
def required(cls: type) -> frozenset[str]:
    names = _types.input_type_py_to_pulumi_names(cls)
    parameters = inspect.signature(cls.__init__).parameters.items()  # type: ignore[misc]
    return frozenset(names[name] for name, given in parameters if name in names and given.default is given.empty)


def problems(value: Any, hint: Any, path: str) -> Iterator[Problem]:
    """Everything in which a value is not of the type that pulumi-aws declares."""
    if value == UNKNOWN:
        return
    choices = list(_choices(hint))
    if Any in choices or not choices:
        return
    found = [list(_problems_of_one(value, choice, path)) for choice in choices]
    if all(found):
        # Of several allowed types, the one that got furthest into the value says the most.
        yield from max(found, key=lambda each: max(len(where) for where, _ in each))


def object_problems(value: Mapping[str, Any], cls: type, path: str = "") -> Iterator[Problem]:
    """The same for an object and an input class: unknown and missing properties too."""
    types = fields(cls)
    for key in value:
        if key not in types:
            yield _under(path, key), f"{cls.__name__} has no property {key!r}"
    for key in sorted(required(cls)):
        if value.get(key) is None:
            yield _under(path, key), f"{cls.__name__} requires {key!r}"
    for key, given in value.items():
        if key in types and given is not None:
            yield from problems(given, types[key], _under(path, key))


def _problems_of_one(value: Any, hint: Any, path: str) -> Iterator[Problem]:
    origin = typing.get_origin(hint)
    if origin in {collections.abc.Sequence, list}:
        if not isinstance(value, list):
            yield path, f"expected a list, got {value!r}"
            return
        for index, each in enumerate(value):
            yield from problems(each, typing.get_args(hint)[0], f"{path}[{index}]")
    elif origin in {collections.abc.Mapping, dict}:
        if not isinstance(value, dict):
            yield path, f"expected a mapping, got {value!r}"
            return
        for key, each in value.items():
            yield from problems(each, typing.get_args(hint)[1], _under(path, key))
    elif isinstance(hint, type) and _types.is_input_type(hint):
        if not isinstance(value, dict):
            yield path, f"expected {hint.__name__}, got {value!r}"
            return
        yield from object_problems(value, hint, path)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        allowed = [member.value for member in hint]
        if value not in allowed:
            yield path, f"expected one of {allowed}, got {value!r}"
    elif not _is(value, hint):
        yield path, f"expected {getattr(hint, '__name__', hint)}, got {value!r}"


def _is(value: Any, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _choices(hint: Any) -> Iterator[Any]:
    """The plain types among Input[...]'s: promises and outputs have become values when they arrive here."""
    if typing.get_origin(hint) is typing.Union:
        for choice in typing.get_args(hint):
            yield from _choices(choice)
    elif typing.is_typeddict(hint):  # the same as the input class beside it
        return
    elif typing.get_origin(hint) not in {collections.abc.Awaitable, pulumi.Output} and hint is not type(None):
        yield hint


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
