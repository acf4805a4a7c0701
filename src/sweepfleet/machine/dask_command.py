"""The commands that start dask's scheduler and worker: pure."""

from __future__ import annotations

from pathlib import Path

from sweepfleet.machine.facts import SCHEDULER_PORT, WORKER_PORTS, Tls

SILENT_S = 15  # dask takes no less than 11
# As `run.engines.CONFIG` has it for one machine: what points do is no matter of dask's, they run in children.
SETTINGS = {
    "DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000000",
    "DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
    "DISTRIBUTED__ADMIN__TICK__LIMIT": "1h",
    "DISTRIBUTED__DIAGNOSTICS__NVML": "False",
    "DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    "DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",
    # A machine that vanishes says no goodbye; its kernel is asked every second or two, and counts as gone then.
    "DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{SILENT_S}s",
}


def address(head_ip: str) -> str:
    """The scheduler's, for workers and drivers."""
    return f"tls://{head_ip}:{SCHEDULER_PORT}"


def environment(tls: Tls, part: str) -> dict[str, str]:
    """Settings of dask for one part, as environment variables: certificates and the rest."""
    files = {"CA_FILE": tls.ca}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        files[f"{role}__CERT"] = tls.certificate(part)
        files[f"{role}__KEY"] = tls.key(part)
    settings = {f"DISTRIBUTED__COMM__TLS__{name}": str(file) for name, file in files.items()}
    return {f"DASK_{name}": value for name, value in (SETTINGS | settings).items()}


def scheduler(python: Path, *, head_ip: str) -> list[str]:
    """The scheduler: TLS to the inside, its dashboard to this machine alone."""
    return [
        *(str(python), "-m", "distributed.cli.dask_scheduler"),
        *("--protocol", "tls", "--host", head_ip, "--port", str(SCHEDULER_PORT)),
        *("--dashboard-address", "127.0.0.1:8787"),
        *("--preload", "sweepfleet.machine.head.notices"),
    ]


def worker(environment: Path, *, head_ip: str, name: str, slots: int, scratch: Path) -> list[str]:
    """A worker with a slot for each core; its name is its instance's id, so that everybody knows which it is."""
    first, last = WORKER_PORTS
    return [
        *(str(environment / "bin" / "python"), "-m", "sweepfleet.machine.worker.dask_worker", address(head_ip)),
        *("--name", name, "--slots", str(slots), "--ports", f"{first}:{last}"),
        *("--scratch", str(scratch), "--environment", str(environment)),
    ]
