"""The cluster's certificates: a CA on the head, and a key for each part that never leaves its machine.

Debian's `openssl` does the work. dask checks that a peer's certificate is the CA's, and no more: whoever has none
gets no further than the handshake. EC keys, since they are quick to make.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sweepfleet.machine.facts import SERVICE_USER, Tls

CA_DAYS, DAYS = 3650, 825
DEADLINE_S = 60


class CertificateError(Exception):
    """openssl refused; the message is what it said."""


def make_ca(tls: Tls, *, name: str) -> None:
    """Make the CA once; a second call finds it."""
    if tls.ca.exists() and tls.ca_key.exists():
        return
    tls.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _key(tls.ca_key)
    new = tls.ca.with_suffix(".new")
    _openssl("req", "-x509", "-new", "-key", tls.ca_key, "-subj", f"/CN={name}", "-days", str(CA_DAYS), "-out", new)
    new.replace(tls.ca)


def make_request(tls: Tls, name: str, *, subject: str) -> Path:
    """A certificate request for one part's key; makes the key where there is none. Its file."""
    tls.folder.mkdir(parents=True, exist_ok=True)
    if not tls.key(name).exists():
        _key(tls.key(name))
    request = tls.folder / f"{name}.csr"
    _openssl("req", "-new", "-key", tls.key(name), "-subj", f"/CN={subject}", "-out", request)
    return request


def sign(tls: Tls, request: Path, certificate: Path, *, subject: str, days: int = DAYS) -> None:
    """Make a certificate of a request, for a subject that the caller knows, whatever the request says.

    Raises:
        CertificateError: the request is none, or its signature does not fit its key.
    """
    _openssl("req", "-in", request, "-verify", "-noout")
    new = certificate.with_name(f".{certificate.name}.new")
    extensions = certificate.with_name(f".{certificate.name}.ext")
    extensions.write_text("basicConstraints=critical,CA:FALSE\n")  # or a worker could make certificates itself
    _openssl(
        *("x509", "-req", "-in", request, "-CA", tls.ca, "-CAkey", tls.ca_key, "-days", str(days)),
        *("-set_serial", f"0x{os.urandom(16).hex()}", "-subj", f"/CN={subject}", "-extfile", extensions, "-out", new),
    )
    extensions.unlink()
    new.replace(certificate)


def fits(tls: Tls, name: str) -> bool:
    """Whether a part's certificate is the CA's, is valid for a week more, and belongs to its key."""
    certificate, key = tls.certificate(name), tls.key(name)
    if not (certificate.exists() and key.exists() and tls.ca.exists()):
        return False
    try:
        _openssl("verify", "-CAfile", tls.ca, certificate)
        _openssl("x509", "-in", certificate, "-noout", "-checkend", str(7 * 86400))
        return _openssl("x509", "-in", certificate, "-noout", "-pubkey") == _openssl("pkey", "-in", key, "-pubout")
    except CertificateError:
        return False


def own(tls: Tls, *names: str) -> None:
    """Let the service user read these parts' keys and certificates; the CA's key stays root's."""
    tls.folder.chmod(0o711)
    tls.ca.chmod(0o644)
    for name in names:
        for file in (tls.key(name), tls.certificate(name)):
            shutil.chown(file, SERVICE_USER, SERVICE_USER)
            file.chmod(0o400)


def _key(file: Path) -> None:
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)  # before there is anything in it
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", new)
    new.chmod(0o600)
    new.replace(file)


def _openssl(*words: str | Path) -> str:
    command = ["openssl", *map(str, words)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        raise CertificateError(f"openssl {words[0]} did not end in {DEADLINE_S} s") from None
    if done.returncode:
        raise CertificateError(f"openssl {words[0]}: {done.stderr.strip()}")
    return done.stdout
