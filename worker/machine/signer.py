"""The head's signer: a certificate for each machine that asks in the bucket.

Only a machine's own role can write below `requests/<its id>/`, so the key says whose request it is, and the
certificate is made for that name, whatever the request says.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from worker.machine.aws import Aws, AwsError
from worker.machine.certificates import CertificateError, sign
from worker.machine.facts import KEYS, Data, Facts, Tls

POLL_S = 1.0


def serve(facts: Facts) -> None:
    """Sign for ever."""
    aws, tls = Aws(facts), Data(Path(facts.data)).tls
    signed: dict[str, str] = {}
    while True:
        try:
            for key, mark in aws.list(KEYS.requests):
                if signed.get(key) != mark and key.count("/") == 2:
                    answer(aws, tls, key)
                    signed[key] = mark
        except AwsError as error:
            print(error, flush=True)
            time.sleep(5)
        time.sleep(POLL_S)


def answer(aws: Aws, tls: Tls, key: str) -> None:
    """Answer one request; one that cannot be signed is passed over, and said."""
    me = key.split("/")[1]
    with TemporaryDirectory() as folder:
        request, certificate = Path(folder, "csr.pem"), Path(folder, "cert.pem")
        aws.get(key, request)
        try:
            sign(tls, request, certificate, subject=me)
        except CertificateError as error:
            print(f"{me}: {error}", flush=True)
            return
        aws.put(certificate, KEYS.certificate(me))
        print(f"{me}: signed", flush=True)


if __name__ == "__main__":
    serve(Facts.read())
