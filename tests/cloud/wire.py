"""Values as the engine sends them: secrets, outputs and references unwrapped, unknowns kept as their sentinel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]

# https://github.com/pulumi/pulumi/blob/master/sdk/python/lib/pulumi/runtime/rpc.py has all five.
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark, not a secret
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
REFERENCE = "5cf8f73096256a8f31e491e813e4eb8e"


def plain(value: Any) -> Any:
    """A value without the engine's wrappings; numbers that are whole are ints, as Terraform has them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    mark = value.get(SIGNATURE)
    if mark is None:
        return {key: plain(each) for key, each in value.items() if each is not None}
    if mark == SECRET:
        return plain(value["value"])
    if mark == OUTPUT:
        return plain(value.get("value", UNKNOWN))
    if mark == REFERENCE:
        return value.get("id") or UNKNOWN
    raise TypeError(f"the stand-in provider takes no assets or archives: {value}")


def has_unknown(value: Any) -> bool:
    """Whether a preview does not yet know all of this value."""
    if isinstance(value, list):
        return any(has_unknown(each) for each in value)
    if isinstance(value, dict):
        return any(has_unknown(each) for each in value.values())
    return bool(value == UNKNOWN)


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = plain(json_format.MessageToDict(struct))
    return fields


def to_struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    json_format.ParseDict({key: each for key, each in values.items() if each is not None}, struct)
    return struct
