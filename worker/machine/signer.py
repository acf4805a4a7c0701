"""The head's signer: a certificate for each machine that asks in the bucket.

Only a machine's own role can write below `requests/<its id>/`, so the key says whose request it is, and the
certificate is made for that name, whatever the request says.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from worker.machine.aws import Aws, AwsError, Stored
from worker.machine.certificates import CertificateError, sign
from worker.machine.facts import KEYS, Data, Facts, Tls
from worker.machine.keeper import wanted

POLL_S = 1.0
REST_S = 30.0  # between two looks while nobody wants workers: each look is a call that AWS bills
MOST_BYTES = 16384  # of a request, which has some 400: whatever a worker puts there, the head's disk does not fill


def serve(facts: Facts) -> None:
    """Sign for ever."""
    aws, data = Aws(facts), Data(Path(facts.data))
    marks: dict[str, str] | None = None  # of the requests that were looked at
    looked_s = float("-inf")
    while True:
        now_s = time.monotonic()
        if wanted(data, most=1, now_s=time.time()) or now_s - looked_s > REST_S:
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
    for request in aws.list(KEYS.requests):
        if marks.get(request.key) != request.mark:
            marks[request.key] = answer(aws, tls, request)


def answered(requests: Iterable[Stored], certificates: Iterable[Stored]) -> dict[str, str]:
    """The marks of the requests that have a newer certificate: a signer that starts anew signs none of them again."""
    signed = {one.key: one.changed for one in certificates}
    return {
        one.key: one.mark
        for one in requests
        if (made := signed.get(KEYS.certificate(_asker(one)))) is not None and made > one.changed
    }


def answer(aws: Aws, tls: Tls, request: Stored) -> str:
    """Answer one request; its mark, or "" when it is to be tried again. What is none is said and passed over."""
    me = _asker(request)
    if request.key != KEYS.request(me):
        return request.mark
    with TemporaryDirectory() as folder:
        file, certificate = Path(folder, "csr.pem"), Path(folder, "cert.pem")
        try:
            aws.get_start(request.key, file, most_bytes=MOST_BYTES)
            sign(tls, file, certificate, subject=me)
            aws.put(certificate, KEYS.certificate(me))
        except CertificateError as error:
            print(f"{me}: {error}", flush=True)
        except AwsError as error:
            print(f"{me}: {error}", flush=True)
            return ""
        else:
            print(f"{me}: signed", flush=True)
    return request.mark


def _asker(request: Stored) -> str:
    return request.key.removeprefix(KEYS.requests).split("/")[0]


if __name__ == "__main__":
    serve(Facts.read())
