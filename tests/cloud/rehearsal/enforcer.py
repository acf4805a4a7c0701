"""moto enforces no policies; this does, for the machines: their roles may do what AWS would let them do, no more.

Who signs with a key that is no role's is the operator, and may do everything; from a machine, such a key is refused.
Bucket policies are not evaluated: theirs is to refuse plain HTTP, which is all that there is here.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from moto.backends import get_backend
from moto.sts.models import AssumedRole

from tests.cloud.aws import ACCOUNT
from tests.cloud.moto import REGIONS
from tests.cloud.rehearsal import amazon, asked
from tests.cloud.rehearsal.asked import Asked
from tests.cloud.rehearsal.network import LAPTOP, SERVICES
from tests.iam import allows

OPERATORS = frozenset({LAPTOP, SERVICES})  # the laptop, and the test process, whose sockets are the router's
FREE = frozenset(
    {"sts:GetCallerIdentity"}
)  # https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
Environ = dict[str, Any]
Start = Callable[..., Any]

log = logging.getLogger(__name__)


class Guard:
    """A WSGI application in front of moto's."""

    def __init__(self, application: amazon.Application) -> None:
        self._application = application
        self.denials: list[str] = []
        self.requests: list[tuple[str, str, str]] = []  # caller's address, method, path

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        self.requests.append((environ["REMOTE_ADDR"], environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        query = environ.get("QUERY_STRING", "")
        claim = asked.signed(environ.get("HTTP_AUTHORIZATION", ""), query)
        role = _role(claim.key_id) if claim else None
        if role is None:
            if environ["REMOTE_ADDR"] in OPERATORS:
                return self._application(environ, start)  # type: ignore[no-any-return]
            key = f"the key {claim.key_id}, which is no role's" if claim else "no key"
            asked_for = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} with {key}"
            return self._deny(environ, start, claim.service if claim else "s3", environ["REMOTE_ADDR"], asked_for)
        assert claim is not None
        policy, boundary = _policy(role), _boundary(role)

        context = {"s3:prefix": parse_qs(query).get("prefix", [""])[0]} if claim.service == "s3" else {}

        def may(one: Asked) -> bool:
            return one.action in FREE or allows(
                policy, one.action, one.resource, userid=role.user_id, boundary=boundary, context=context
            )

        wanted = _wanted(environ, claim.service)
        for one in wanted:
            if not may(one):
                return self._deny(environ, start, claim.service, role.user_id, f"{one.action} on {one.resource}")
        bucket = wanted[0].resource.partition("/")[0]
        context = {}  # who lists some prefixes alone is not told either
        if claim.service == "s3" and not may(Asked("s3:ListBucket", bucket)):
            start = _hiding_absence(start)
        return self._application(environ, start)  # type: ignore[no-any-return]

    def _deny(self, environ: Environ, start: Start, service: str, who: str, what: str) -> Iterable[bytes]:
        self.denials.append(f"{who}: {what}")
        log.info("denied %s: %s", who, what)
        message = f"User: {who} is not authorized to perform: {what}"
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target:
            status, body = "400 Bad Request", json.dumps({"__type": "AccessDeniedException", "message": message})
        elif service == "s3":
            status, body = "403 Forbidden", f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        elif service == "ec2":
            error = f"<Error><Code>UnauthorizedOperation</Code><Message>{message}</Message></Error>"
            status, body = "403 Forbidden", f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>"
        else:
            error = f"<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{message}</Message></Error>"
            status, body = "403 Forbidden", f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"
        _body(environ)  # read, or the next request on this connection begins in the middle of it
        data = b"" if environ["REQUEST_METHOD"] == "HEAD" else body.encode()
        kind = "application/x-amz-json-1.1" if target else "application/xml"
        start(status, [("Content-Type", kind), ("Content-Length", str(len(data)))])
        return [data]


def _hiding_absence(start: Start) -> Start:
    """Who may not list a bucket is not told that an object is missing, but that it may not be read.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """

    def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start("403 Forbidden" if status.startswith("404") else status, headers, *rest)

    return started


def _role(key_id: str) -> AssumedRole | None:
    role: AssumedRole | None = get_backend("sts")[ACCOUNT]["aws"].get_assumed_role_from_access_key(key_id)
    return role


def _policy(role: AssumedRole) -> str:
    """All statements of a role, inline and attached, as one document."""
    iam = get_backend("iam")[ACCOUNT]["aws"]
    own = iam.get_role_by_arn(role.role_arn)
    attached = (
        version for policy in own.managed_policies.values() for version in policy.versions if version.is_default
    )
    documents = [*own.policies.values(), *(version.document for version in attached)]
    return json.dumps({"Statement": [one for text in documents for one in json.loads(text)["Statement"]]})


def _boundary(role: AssumedRole) -> str | None:
    """What the role cannot exceed, if there is anything."""
    iam = get_backend("iam")[ACCOUNT]["aws"]
    arn = iam.get_role_by_arn(role.role_arn).permissions_boundary_arn
    if not arn:
        return None
    (document,) = (one.document for one in iam.get_policy(arn).versions if one.is_default)
    return str(document)


def _wanted(environ: Environ, service: str) -> list[Asked]:
    method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
    if service == "s3":
        if method == "POST" and "delete" in parse_qs(query, keep_blank_values=True):
            return asked.deleted(environ["PATH_INFO"], _body(environ).decode())
        return asked.s3(method, environ["PATH_INFO"], query, environ.get("HTTP_X_AMZ_COPY_SOURCE", ""))
    return asked.api(service, environ.get("HTTP_X_AMZ_TARGET", ""), query or _body(environ).decode(), _group_arn)


def _body(environ: Environ) -> bytes:
    """The request's body, which stays to be read."""
    data: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(data)
    return data


def _group_arn(parameters: Mapping[str, str]) -> str:
    """The group that a request is about, by its own name or by a member's; `*` when there is none."""
    for region in REGIONS:
        for group in amazon.autoscaling(region).autoscaling_groups.values():
            members = {each.instance.id for each in group.instance_states}
            if parameters.get("AutoScalingGroupName") == group.name or parameters.get("InstanceId") in members:
                return str(group.arn)
    return "*"
