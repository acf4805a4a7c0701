"""What a machine knows of its stack, its paths, and what it may keep in the bucket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INSTANCE_ID = Path("/var/lib/cloud/data/instance-id")  # cloud-init's
SCHEDULER_PORT = 8786
WORKER_PORTS = (40000, 40127)
SERVICE_USER = "sweepfleet"
NETRC_PARAMETER = "/sweepfleet/{stack}/netrc"  # an SSM parameter, as `infra.layout` has it
PATIENCE_TAG = "sweepfleet:spot-patience-s"  # of the on-demand group, as `infra.layout` has it
PUSHED_BY = "SWEEPFLEET_PUSHED_BY"  # a variable: who pushes, as JSON; an older release leaves it aside
SCRATCH = Path("/var/tmp/sweepfleet")  # noqa: S108 - a worker's; made by root, and the service user's alone


@dataclass(frozen=True, slots=True)
class Facts:
    """What the boot text told this machine; see `infra.boot_text.Machine`."""

    role: str
    stack: str
    bucket: str
    role_id: str
    head_ip: str
    package_index: str
    region: str
    endpoint_url: str
    data: str  # the head's data volume; "" on a worker
    group: str  # the autoscaling groups that the head sizes, spot before on-demand; "" on a worker
    data_volume: str = ""  # the id of the head's data volume; "" on a worker

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Facts:
        """The facts in the environment, where the units put them."""
        return cls(
            role=environment["SWEEPFLEET_ROLE"],
            stack=environment["SWEEPFLEET_STACK"],
            bucket=environment["SWEEPFLEET_BUCKET"],
            role_id=environment["SWEEPFLEET_ROLE_ID"],
            head_ip=environment["SWEEPFLEET_HEAD"],
            package_index=environment["SWEEPFLEET_PACKAGE_INDEX"],
            region=environment["AWS_DEFAULT_REGION"],
            endpoint_url=environment.get("AWS_ENDPOINT_URL", ""),
            data=environment.get("SWEEPFLEET_DATA", ""),
            group=environment.get("SWEEPFLEET_GROUP", ""),
            data_volume=environment.get("SWEEPFLEET_DATA_VOLUME", ""),
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """All groups of workers: the one with spot instances, and where there is one, the on-demand one."""
        return tuple(self.group.split())

    @property
    def instance_id(self) -> str:
        """This machine's, in EC2."""
        return INSTANCE_ID.read_text().strip()

    @property
    def me(self) -> str:
        """This machine's folder in the bucket: AWS's ${aws:userid}, under which alone its role may write."""
        return f"{self.role_id}:{self.instance_id}"


UP, GOING_TO_SLEEP = "up", "going to sleep"  # what a head says of itself in the bucket
IDLE_STOP_TAG = "sweepfleet:head-idle-stop"  # of the one with spot instances: seconds, or never
CODE = Path(".sweepfleet", "code")  # in a release: this package, as it was where the release was made


@dataclass(frozen=True, slots=True)
class Home:
    """`/opt/sweepfleet`: releases and environments; each can be fetched again."""

    path: Path = Path("/opt/sweepfleet")

    def release(self, sha256: str) -> Path:
        """A release's files."""
        return self.releases / sha256

    def environment(self, lock: str) -> Path:
        """A Python environment, by the hash of what is in it."""
        return self.environments / lock

    @property
    def releases(self) -> Path:
        """The folder of all releases."""
        return self.path / "releases"

    def incoming(self, sha256: str) -> Path:
        """A release's archive, as it came from a laptop; until it is stored."""
        return self.path / "incoming" / f"{sha256}.tar.gz"

    def data(self, part: str) -> Path:
        """Data files that releases share, by the name of their contents."""
        return self.all_data / part

    @property
    def all_data(self) -> Path:
        """The folder of all of them."""
        return self.path / "data"

    def incoming_data(self, part: str) -> Path:
        """Their archive, as it came from a laptop; until it is stored."""
        return self.path / "incoming" / f"data-{part}.tar.gz"

    @property
    def environments(self) -> Path:
        """The folder of all environments."""
        return self.path / "environments"

    def jupyter(self, lock: str) -> Path:
        """An environment of the console and the notebook, by the hash of what is in it."""
        return self.all_jupyter / lock

    @property
    def all_jupyter(self) -> Path:
        """The folder of all of them."""
        return self.path / "jupyter"

    @property
    def current(self) -> Path:
        """The link to the newest release."""
        return self.path / "current"

    @property
    def fleet_release(self) -> Path:
        """The link to the release whose code scheduler and workers run: an older one while a run of it goes on."""
        return self.path / "fleet"

    @property
    def fleet_environment(self) -> Path:
        """The link to the environment that scheduler and workers run in."""
        return self.path / "environment"

    @property
    def fleet_engine(self) -> Path:
        """What scheduler and workers run: the name of that code and environment."""
        return self.path / "engine"


@dataclass(frozen=True, slots=True)
class Tls:
    """A machine's keys and certificates: each part's are the service user's, the CA's key is root's."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The cluster's CA certificate: whom to trust."""
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The CA's key, on the head alone."""
        return self.folder / "ca.key"

    def key(self, name: str) -> Path:
        """The private key of one part: scheduler, driver or worker."""
        return self.folder / f"{name}.key"

    def certificate(self, name: str) -> Path:
        """Its certificate."""
        return self.folder / f"{name}.pem"


WORKER_TLS = Tls(Path("/etc/sweepfleet/tls"))


@dataclass(frozen=True, slots=True)
class Data:
    """The head's data volume; outlives the head."""

    path: Path

    @property
    def runs(self) -> Path:
        """The folder of all runs, as `run.folder` knows it."""
        return self.path / "runs"

    @property
    def jobs(self) -> Path:
        """One folder a run: what it is to run and with what."""
        return self.path / "jobs"

    @property
    def tls(self) -> Tls:
        """The cluster's CA and the head's own keys."""
        return Tls(self.path / "tls")

    @property
    def sessions(self) -> Path:
        """One folder for the console and one for the notebook server; their home beside them."""
        return self.path / "sessions"

    @property
    def sessions_home(self) -> Path:
        """The home folder of what runs in them: the service user's own."""
        return self.sessions / "home"

    def ended(self, kind: str) -> Path:
        """Why the last session of a kind has ended by itself."""
        return self.sessions_home / f".{kind}-ended"

    @property
    def notebooks(self) -> Path:
        """The user's own files."""
        return self.path / "notebooks"

    @property
    def asked(self) -> Path:
        """Where programs on the head name the jobs that root is to start: the service user's own."""
        return self.path / "asked"

    @property
    def hold(self) -> Path:
        """How many workers `inv start` asked for, and for how long."""
        return self.path / "hold.json"

    @property
    def keeper(self) -> Path:
        """What the keeper writes down: the service user's own."""
        return self.path / "keeper"

    @property
    def launches(self) -> Path:
        """What there is to say of machines that AWS does not start: a JSON list of lines."""
        return self.keeper / "launches.json"

    @property
    def spending(self) -> Path:
        """What the workers have cost by day."""
        return self.keeper / "spending.json"

    @property
    def leaving(self) -> Path:
        """Which workers AWS takes back, as `machine.leaving` has it."""
        return self.keeper / "leaving.json"

    @property
    def stored(self) -> Path:
        """When each active run was last stored in the bucket, and why one cannot be."""
        return self.keeper / "stored.json"

    def parts(self, run: str) -> Path:
        """Which parts of a run are in the bucket."""
        return self.keeper / "parts" / f"{run}.json"

    @property
    def copies(self) -> Path:
        """Copies of a run's files, while they are stored."""
        return self.keeper / "copies"


@dataclass(frozen=True, slots=True)
class Keys:
    """The bucket's keys that machines use; `infra.layout.BucketLayout` says who may do what with them."""

    current: str = "releases/current.json"
    fleet: str = "releases/fleet.json"  # the note of the release that scheduler and workers run
    ca: str = "tls/ca.pem"
    requests: str = "requests/"
    certificates: str = "certificates/"
    inbox: str = "inbox/"
    outbox: str = "outbox/"
    all_checkpoints: str = "checkpoints/"
    all_parts: str = "stored/runs/"
    answers: str = "stored/head.json"  # what the head knows of its runs, for who asks while it is off

    def parts(self, run: str) -> str:
        """What an active run has so far, in parts; ends with a slash."""
        return f"{self.all_parts}{run}/"

    def part(self, run: str, generation: str, number: int) -> str:
        """One of them; see `machine.stored_runs`."""
        return f"{self.parts(run)}{generation}/{number:06d}"

    def results(self, run: str) -> str:
        """What is stored of a run at its end; ends with a slash."""
        return f"runs/{run}/"

    def checkpoints(self, run: str) -> str:
        """What the points of a run continue from; ends with a slash."""
        return f"{self.all_checkpoints}{run}/"

    def letter(self, letter: str) -> str:
        """What a pipeline asks of the head."""
        return f"{self.inbox}{letter}.json"

    def enclosed(self, letter: str) -> str:
        """What goes with it: a job's archive."""
        return f"{self.inbox}{letter}.tar"

    @property
    def head(self) -> str:
        """Whether the head is up or going to sleep, as it said last."""
        return f"{self.outbox}head.json"

    @property
    def first(self) -> str:
        """The release that a head without one begins with."""
        return f"{self.inbox}first.json"

    def answer(self, letter: str) -> str:
        """What the head says to it."""
        return f"{self.outbox}{letter}.json"

    def ended(self, run: str) -> str:
        """How a run ended, written last of all that is stored of it."""
        return f"{self.outbox}runs/{run}.json"

    def release(self, sha256: str) -> str:
        """A release's archive."""
        return f"releases/{sha256}.tar.gz"

    def release_note(self, sha256: str) -> str:
        """Where a release comes from: commit, time, environment."""
        return f"releases/{sha256}.json"

    def data(self, part: str) -> str:
        """An archive of data files that releases have; by the name of their contents."""
        return f"releases/data/{part}.tar.gz"

    def environment(self, lock: str) -> str:
        """An environment's archive."""
        return f"environments/{lock}.tar.gz"

    def environment_requirements(self, lock: str) -> str:
        """What it was resolved to, the first time it was built."""
        return f"environments/{lock}.requirements.txt"

    def environment_hash(self, lock: str) -> str:
        """Its SHA-256."""
        return f"environments/{lock}.sha256"

    def request(self, me: str) -> str:
        """A machine's certificate request."""
        return f"{self.requests}{me}/csr.pem"

    def certificate(self, me: str) -> str:
        """The certificate that the head made of it."""
        return f"{self.certificates}{me}/cert.pem"


KEYS = Keys()
HOME = Home()
