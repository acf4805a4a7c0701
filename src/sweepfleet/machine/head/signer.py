"""The head's signer: a certificate for each machine that asks in the bucket.

Only a machine's own role can write below `requests/<its id>/`, so the key says whose request it is, and the
certificate is made for that name, whatever the request says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.machine.aws import Aws, AwsError, Stored
from sweepfleet.machine.certificates import CertificateError, sign
from sweepfleet.machine.facts import KEYS, Data, Facts, Tls
from sweepfleet.machine.head.keeper import workers_needed
from sweepfleet.machine.in_process import door

POLL_S = 2.0
REST_S = 30.0  # between two looks while nobody wants workers: each look is a call that AWS bills
MOST_BYTES = 16384  # of a request, which has some 400: whatever a worker puts there, the head's disk does not fill


def serve(facts: Facts) -> None:
    """Sign for ever."""
    aws, data = door(facts), Data(Path(facts.data))
    marks: dict[str, str] | None = None  # of the requests that were looked at
    looked_s = float("-inf")
    while True:
        now_s = time.monotonic()
        if workers_needed(data, most=1, now_s=time.time()) or now_s - looked_s > REST_S:
            looked_s = now_s
            try:
                if marks is None:
                    marks = answered(aws.list(KEYS.requests), aws.list(KEYS.certificates))
                look(aws, data.tls, marks)
            except AwsError as error:
                print(error, flush=True)
        time.sleep(POLL_S)


def look(aws: Aws, tls: Tls, marks: dict[str, str]) -> None:
    """Answer the requests whose mark is not here, and note it. One that cannot be answered delays no other."""
    new = [one for one in aws.list(KEYS.requests) if marks.get(one.key) != one.mark]
    requests = [one for one in new if _is_request(one)]
    again = answer(aws, tls, requests) if requests else []
    marks.update({one.key: one.mark for one in new if one not in again})


def answered(requests: Iterable[Stored], certificates: Iterable[Stored]) -> dict[str, str]:
    """The marks of the requests that have a newer certificate: a signer that starts anew signs none of them again."""
    signed = {one.key: one.changed for one in certificates}
    return {
        one.key: one.mark
        for one in requests
        if (made := signed.get(KEYS.certificate(_asker(one)))) is not None and made > one.changed
    }


def answer(aws: Aws, tls: Tls, requests: Sequence[Stored]) -> list[Stored]:
    """Answer requests; those that are to be tried again. What cannot be signed is said and passed over.

    However many there are, `aws` is started twice: its start takes longer than all the rest, and workers of a fleet
    ask all at once.
    """
    with TemporaryDirectory() as folder:
        names = [one.key.removeprefix(KEYS.requests) for one in requests]
        missing = _error(aws.get_all, KEYS.requests, names, Path(folder, KEYS.requests), most_bytes=MOST_BYTES)
        here = [one for one in requests if Path(folder, one.key).exists()]
        signed = [one for one in here if _signed(tls, Path(folder), one)]
        unstored = _error(aws.put_all, Path(folder, KEYS.certificates), KEYS.certificates) if signed else ""
    for one in requests:
        if one not in here or (one in signed and unstored):
            print(f"{_asker(one)}: {unstored if one in here else missing or 'the request is gone'}", flush=True)
        elif one in signed:
            print(f"{_asker(one)}: signed", flush=True)
    return [one for one in requests if one not in here or (one in signed and unstored)]


def _signed(tls: Tls, folder: Path, request: Stored) -> bool:
    """Make the certificate where it is to be stored from; whether the request was one."""
    me, made = _asker(request), folder / "cert.pem"
    try:
        sign(tls, folder / request.key, made, subject=me)
    except CertificateError as error:
        print(f"{me}: {error}", flush=True)
        return False
    place = folder / KEYS.certificate(me)
    place.parent.mkdir(parents=True)
    made.rename(place)
    return True


def _error(call: Callable[..., None], *arguments: Any, **options: Any) -> str:
    """Make a call; what AWS said against it, or ""."""
    try:
        call(*arguments, **options)
    except AwsError as error:
        return str(error)
    return ""


def _is_request(one: Stored) -> bool:
    if one.key != KEYS.request(_asker(one)):
        return False
    if one.size > MOST_BYTES:
        print(f"{_asker(one)}: {one.size} bytes are not a request", flush=True)
    return one.size <= MOST_BYTES


def _asker(request: Stored) -> str:
    return request.key.removeprefix(KEYS.requests).split("/")[0]


if __name__ == "__main__":
    serve(Facts.read())
