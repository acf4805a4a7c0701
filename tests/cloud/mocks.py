"""The stand-in provider inside the test's own process: what a program declares is really made, and recorded."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs

from tests.cloud import config
from tests.cloud.aws import Aws
from tests.cloud.failures import Failures
from tests.cloud.provider import Provider
from tests.cloud.wire import plain


@dataclass(frozen=True)
class Record:
    """One thing that was made, as the engine would have recorded it."""

    type: str
    name: str
    id: str
    inputs: dict[str, Any] = field(repr=False)
    outputs: dict[str, Any] = field(repr=False)


class Mocks(pulumi.runtime.Mocks):
    """For pulumi.runtime.set_mocks: makes resources in the cloud at `endpoint`, and keeps a record of each.

    `region` and `default_tags` are those of resources without a provider of their own. `fail` is {type token: N}:
    the Nth creation of that type fails.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        region: str = "us-east-1",
        default_tags: Mapping[str, str] | None = None,
        fail: Mapping[str, int] | None = None,
    ) -> None:
        self._made: list[tuple[Record, Provider | None]] = []
        self.components: list[tuple[str, str]] = []  # (type, name) of those that group others
        self._endpoint = endpoint
        self._failures = Failures(fail)
        self._default = Aws(region, endpoint, default_tags=default_tags or {})
        self._providers: dict[str, Aws] = {}
        self._lock = threading.Lock()

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        inputs: dict[str, Any] = plain(args.inputs)
        if args.typ == "pulumi:providers:aws":
            id_ = f"provider-{len(self._providers)}"
            self._providers[id_] = config.connection(inputs, endpoint=self._endpoint)
            settings = config.decoded(inputs)
            return self._recorded(Record(args.typ, args.name, id_, settings, settings), None)
        if args.custom is False and not args.resource_id:
            self.components.append((args.typ, args.name))
            return None, inputs
        provider = self._provider(args.provider)
        if args.resource_id:
            found = provider.read(args.typ, args.resource_id, inputs, {})
            if found is None:
                raise LookupError(f"{args.typ} {args.name}: there is no {args.resource_id}")
            return self._recorded(Record(args.typ, args.name, args.resource_id, inputs, found[0]), provider)
        checked, problems = provider.check(args.typ, args.name, inputs, {}, b"")
        if problems:
            raise ValueError("; ".join(f"{args.name}.{key}: {reason}" for key, reason in problems))
        id_, outputs = provider.create(args.typ, checked)
        return self._recorded(Record(args.typ, args.name, id_, checked, outputs), provider)

    def call(self, args: MockCallArgs) -> dict[str, Any]:  # type: ignore[override]
        result, problems = self._provider(args.provider).invoke(args.token, plain(args.args))
        if problems:
            raise ValueError("; ".join(f"{args.token}: {key}: {reason}" for key, reason in problems))
        return result

    @property
    def records(self) -> list[Record]:
        """Everything that was made, in the order of its making."""
        return [record for record, _ in self._made]

    def of_type(self, token: str) -> list[Record]:
        """The records of one type, in the order of their making."""
        return [record for record in self.records if record.type == token]

    def named(self, name: str, token: str | None = None) -> Record:
        """The one record of that logical name; of that type too, where several types share the name."""
        found = [each for each in self.records if each.name == name and token in {None, each.type}]
        if len(found) != 1:
            raise LookupError(f"{len(found)} records are named {name!r}: {found}")
        return found[0]

    def destroy(self) -> None:
        """Unmake everything, the last made first, as the engine would."""
        while self._made:
            record, provider = self._made[-1]
            if provider:
                provider.delete(record.type, record.id, record.outputs)
            self._made.pop()

    def _recorded(self, record: Record, provider: Provider | None) -> tuple[str, dict[str, Any]]:
        with self._lock:  # the program's resources are registered from several threads
            self._made.append((record, provider))
        return record.id, record.outputs

    def _provider(self, reference: str | None) -> Provider:
        """A reference is urn::id; without one it is the default provider."""
        id_ = (reference or "").rpartition("::")[2]
        return Provider(self._providers[id_] if id_ else self._default, self._failures)
