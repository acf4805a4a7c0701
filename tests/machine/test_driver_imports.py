"""What a driver on the head has loaded when it reads its settings."""

from __future__ import annotations

import subprocess
import sys


def test_a_driver_has_not_loaded_dask_before_it_knows_its_certificates() -> None:
    """dask reads its settings as it is imported: it would find no scheduler."""
    code = "import sys, sweepfleet.machine.head.run_job; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
