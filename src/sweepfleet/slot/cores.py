"""The cores of a slot: thread counts for numerical libraries and, where the system has it, CPU affinity.

Affinity is what most programs ask for when they are to use "all" cores (joblib, OpenMP, Go, Rust, `nproc`). A core
that a slot has is leased, machine-wide: two sweeps side by side would else sit on the same ones while others are
idle. Who gets no cores of its own is not tied to any, and runs where there is room.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

LEASE = "sweepfleet-core"  # the names of leases are those of sockets: the kernel ends them with the process
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",  # OpenMP's, and so PyTorch's, XGBoost's, LightGBM's and scikit-learn's
    "OMP_THREAD_LIMIT",  # what code asks for itself
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "LOKY_MAX_CPU_COUNT",  # joblib's n_jobs=-1
    "PYTHON_CPU_COUNT",  # os.cpu_count(), from Python 3.13 on
    "MC_CORES",  # R's mclapply
)


def environment(cpus: int) -> dict[str, str]:
    """The environment variables for a point with this number of cores."""
    return dict.fromkeys(THREAD_VARIABLES, str(cpus))


class Cores:
    """The cores of a pool's slots."""

    def __init__(self, *, slots: int, cpus: int) -> None:
        """Lease `cpus` different cores for each slot; none where there are too few for all."""
        self._leases: list[socket.socket] = []
        self.of: list[tuple[int, ...]] = [()] * slots  # by slot; without any, a slot is tied to none
        if sys.platform != "linux":
            return
        available = sorted(os.sched_getaffinity(0))
        needed = slots * cpus
        if needed > len(available):
            return
        found: list[int] = []
        for core in available:
            if len(found) < needed and self._lease(core):
                found.append(core)
        if len(found) < needed:
            self.close()
            return
        self.of = [tuple(found[slot * cpus : (slot + 1) * cpus]) for slot in range(slots)]

    def _lease(self, core: int) -> bool:
        lease = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lease.bind(f"\0{LEASE}-{core}")
        except OSError:  # another sweep's
            lease.close()
            return False
        self._leases.append(lease)
        return True

    def close(self) -> None:
        """End the leases."""
        for lease in self._leases:
            lease.close()
        self._leases.clear()


def stay_on(cores: list[int]) -> None:
    """Tie this process, and all that it starts, to these cores."""
    if cores and sys.platform == "linux":
        with contextlib.suppress(OSError):  # they may have been taken from the machine
            os.sched_setaffinity(0, cores)
