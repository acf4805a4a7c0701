"""Signs a certificate for a user's dask client: `sign_client REQUEST NAME`, as root on the head; prints JSON.

Whoever may be root on the head by SSH may have one: it lets into the scheduler, which runs code as the service user.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.machine.certificates import CertificateError, sign
from sweepfleet.machine.facts import Data, Facts

DAYS = 14  # a client makes a key and asks for a certificate each time that it connects


def main() -> None:
    """Sign it."""
    request, name = sys.argv[1:]
    tls = Data(Path(Facts.read().data)).tls
    with TemporaryDirectory() as folder:
        certificate = Path(folder, "client.pem")
        try:
            sign(tls, Path(request), certificate, subject=f"client {name}", days=DAYS)
        except CertificateError as error:
            sys.exit(str(error))
        print(json.dumps({"certificate": certificate.read_text(), "ca": tls.ca.read_text()}))


if __name__ == "__main__":
    main()
