"""A certificate of the cluster's CA for a dask client on this machine, whose key leaves it never."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.infra.layout import MachinePaths

SIGN = "sweepfleet.machine.head.sign_client"


@dataclass(frozen=True, slots=True)
class Files:
    """A client's key, its certificate and whom it trusts, in a folder that is the user's alone."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "client.key"

    @property
    def certificate(self) -> Path:
        """Its certificate."""
        return self.folder / "client.pem"

    @property
    def ca(self) -> Path:
        """The cluster's CA certificate."""
        return self.folder / "ca.pem"


def certify(head: Host, files: Files, *, name: str) -> None:
    """Make a key, and have the head sign its certificate over the verified connection.

    Raises:
        ClusterError: the head refuses.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    files.key.touch(mode=0o600)  # before there is anything in it
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    here = files.folder / "client.csr"
    here.write_bytes(request.public_bytes(serialization.Encoding.PEM))
    incoming = head.ask("mktemp").strip()
    head.put(here, incoming)
    paths = MachinePaths()
    script = f'set -a && . {paths.facts} && cd {paths.code} && exec python3 -m {SIGN} "$1" "$2"'
    try:
        said = json.loads(head.ask("sh", "-euc", script, "sign", incoming, name, sudo=True))
    except ValueError as error:
        raise ClusterError(f"[head] The client's certificate cannot be read: {error}") from None
    finally:
        head.run("rm", "-f", incoming)
    files.certificate.write_text(said["certificate"])
    files.ca.write_text(said["ca"])
