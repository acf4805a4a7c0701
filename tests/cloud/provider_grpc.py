"""The stand-in provider as a plugin of the real engine: `python -m tests.cloud.provider_grpc` serves it.

It listens on this machine only, talks to the cloud at AWS_ENDPOINT_URL, and ends with the engine that started it.
"""
# ruff: noqa: ARG002, N802 - the calls' names and arguments are the protocol's

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from importlib.metadata import version
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.any_pb2 import Any as Packed  # type: ignore[import-untyped]
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderServicer

from tests.cloud import config, schema
from tests.cloud.aws import CloudError
from tests.cloud.failures import Failures
from tests.cloud.holds import wait_where_asked
from tests.cloud.provider import Difference, NoHandlerError, Provider, UnfinishedError
from tests.cloud.wire import from_struct, to_struct

WORKERS = 32  # the engine makes many things at once, and some wait for others
ENDPOINT = "AWS_ENDPOINT_URL"
_Answer = Callable[..., Any]


def _errors_answered(answer: _Answer) -> _Answer:
    """What goes wrong in AWS or with an unknown type is the resource's error, with its text."""

    @wraps(answer)
    def told(self: Servicer, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answer(self, request, context)
        except UnfinishedError as error:
            _abort_unfinished(context, error)
        except (CloudError, NoHandlerError, ValueError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return told


class Servicer(ResourceProviderServicer):
    """The engine's calls, each one line of Provider between its message and its answer."""

    def __init__(self) -> None:
        self._provider: Provider | None = None

    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=version("pulumi_aws"))

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        return _checked(request.news, config.problems(from_struct(request.news)))

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        olds, news = from_struct(request.old_inputs), from_struct(request.news)
        changed = frozenset(key for key in olds.keys() | news.keys() if olds.get(key) != news.get(key))
        return _difference(Difference(changed), olds, news)

    @_errors_answered
    def Configure(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ConfigureResponse:
        aws = config.connection(from_struct(request.args), endpoint=os.environ[ENDPOINT])
        self._provider = Provider(aws, Failures.from_environment())
        return provider_pb2.ConfigureResponse(supportsPreview=True)  # and accepts no secrets, outputs or references

    @_errors_answered
    def Check(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        inputs, problems = self._configured.check(
            _token(request), _name(request), from_struct(request.news), from_struct(request.olds), request.randomSeed
        )
        return _checked(to_struct(inputs), problems)

    @_errors_answered
    def Diff(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        state, old, new = from_struct(request.olds), from_struct(request.old_inputs), from_struct(request.news)
        difference = self._configured.diff(_token(request), state, old, new, list(request.ignoreChanges))
        return _difference(difference, {**old, "tagsAll": state.get("tagsAll")}, new)

    @_errors_answered
    def Create(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        inputs = from_struct(request.properties)
        if request.preview:
            planned = self._configured.planned(_token(request), inputs)
            return provider_pb2.CreateResponse(properties=to_struct(planned))
        wait_where_asked("create")
        id_, state = self._configured.create(_token(request), inputs)
        return provider_pb2.CreateResponse(id=id_, properties=to_struct(state))

    @_errors_answered
    def Read(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        found = self._configured.read(
            _token(request), request.id, from_struct(request.properties), from_struct(request.inputs)
        )
        if found is None:
            return provider_pb2.ReadResponse()  # no id: it is gone
        state, inputs = found
        return provider_pb2.ReadResponse(id=request.id, properties=to_struct(state), inputs=to_struct(inputs))

    @_errors_answered
    def Update(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        state, old, new = from_struct(request.olds), from_struct(request.old_inputs), from_struct(request.news)
        if request.preview:
            planned = self._configured.planned_update(_token(request), state, old, new)
            return provider_pb2.UpdateResponse(properties=to_struct(planned))
        now = self._configured.update(_token(request), request.id, state, old, new)
        return provider_pb2.UpdateResponse(properties=to_struct(now))

    @_errors_answered
    def Delete(self, request: Any, context: grpc.ServicerContext) -> Empty:
        wait_where_asked("delete")
        self._configured.delete(_token(request), request.id, from_struct(request.properties))
        return Empty()

    @_errors_answered
    def Invoke(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        result, problems = self._configured.invoke(request.tok, from_struct(request.args))
        return provider_pb2.InvokeResponse(**{"return": to_struct(result)}, failures=_failures(problems))

    def Cancel(self, request: Empty, context: grpc.ServicerContext) -> Empty:
        return Empty()

    @property
    def _configured(self) -> Provider:
        if self._provider is None:
            raise ValueError("the provider is not configured yet")
        return self._provider


def _unimplemented(self: Servicer, request: Any, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "the stand-in provider does not have this call")


for _call in (
    "Handshake",
    "Parameterize",
    "GetSchema",
    "Call",
    "Construct",
    "List",
    "Attach",
    "GetMapping",
    "GetMappings",
):
    setattr(Servicer, _call, _unimplemented)


def _token(request: Any) -> str:
    return str(request.type or request.urn.split("::")[2].rpartition("$")[2])


def _name(request: Any) -> str:
    return str(request.name or request.urn.split("::", 3)[3])


def _failures(problems: list[tuple[str, str]]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in problems]


def _checked(inputs: Any, problems: list[tuple[str, str]]) -> provider_pb2.CheckResponse:
    return provider_pb2.CheckResponse(inputs=inputs, failures=_failures(problems))


def _difference(found: Difference, olds: Mapping[str, Any], news: Mapping[str, Any]) -> provider_pb2.DiffResponse:
    kinds = provider_pb2.PropertyDiff.Kind
    detail = {}
    for key in found.changed | found.replaces:
        kind = (
            "ADD" if olds.get(key) is None else "DELETE" if news.get(key) is None and key != "tagsAll" else "UPDATE"
        )
        kind += "_REPLACE" if key in found.replaces else ""
        detail[key] = provider_pb2.PropertyDiff(kind=kinds.Value(kind), inputDiff=key != "tagsAll")
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if detail else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=sorted(detail),
        replaces=sorted(found.replaces),
        deleteBeforeReplace=found.delete_first,
        detailedDiff=detail,
        hasDetailedDiff=True,
    )


def _abort_unfinished(context: grpc.ServicerContext, error: UnfinishedError) -> None:
    """The engine then records what exists, and updates it at the next `up`."""
    packed = Packed()
    packed.Pack(
        provider_pb2.ErrorResourceInitFailed(id=error.id, properties=to_struct(error.state), reasons=[str(error)])
    )
    status = Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[packed])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    """Serve on a free port, and print it, until the engine that started this ends."""
    schema.bare_packages()
    server = grpc.server(
        ThreadPoolExecutor(WORKERS),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
