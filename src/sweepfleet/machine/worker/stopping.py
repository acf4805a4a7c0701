"""How systemd stops a worker's machine: it tells the start alone, and waits for what the worker has in hand.

Without this, every process of the worker would get SIGTERM at once, and each point in hand would be lost: at a
scale-in, at a shutdown, at a reboot. It is a drop-in of this boot: the unit itself is in the boot text, which stays.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

DRAIN_S = 60.0  # that a worker takes which is told to end, and not when
STOP_S = DRAIN_S + 15.0  # that systemd gives it
DROP_IN = Path("/run/systemd/system/sweepfleet-boot@await-release.service.d/leaving.conf")
TEXT = f"[Service]\nKillMode=mixed\nTimeoutStopSec={STOP_S:.0f}\n"


def is_asked_gently(drop_in: Path = DROP_IN) -> None:
    """Have systemd stop this machine's worker so. Where it does not, points in hand are lost as the machine stops."""
    try:
        if drop_in.exists() and drop_in.read_text() == TEXT:
            return
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(TEXT)
        subprocess.run(["systemctl", "daemon-reload"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"systemd stops this worker without waiting for its points: {error}", flush=True)


class Stop:
    """Passes a SIGTERM of this process on to a worker, which then leaves in order."""

    def __init__(self, worker: subprocess.Popen[bytes]) -> None:
        """From now on, until this process ends."""
        self.came = False
        self._worker = worker
        signal.signal(signal.SIGTERM, self._pass_on)

    def _pass_on(self, *_: object) -> None:
        self.came = True
        self._worker.terminate()
