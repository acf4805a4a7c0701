"""Where things are: the network's address plan and ports, the bucket's prefixes, the machines' paths.

Standard library only: the program declares with it, the boot text is made with it, the operator's commands read it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

# Set in the environment of one command, it lets the head be made anew; a setting would do so again and again.
RENEW_HEAD = "SWEEPFLEET_RENEW_HEAD"

SCHEDULER_PORT = 8786
WORKER_PORTS = (40000, 40127)  # a fixed range, so that one rule admits the scheduler, and one each other
SSH_PORT = 22

# Machines' roles and their profiles have a path of their own, which a person's role of any name does not have.
IAM_PATH = "/sweepfleet/"
BOUNDARY = "sweepfleet-machines"  # the policy that no machine's role goes beyond; an administrator makes it

# A secret of the account, an SSM parameter that its owner makes: who may read packages, as a netrc file has it.
NETRC_PARAMETER = "/sweepfleet/{stack}/netrc"

# Of the groups of workers, where the head reads them: no change of theirs replaces or restarts the head.
IDLE_STOP_TAG = "sweepfleet:head-idle-stop"  # of the one with spot instances
PATIENCE_TAG = "sweepfleet:spot-patience-s"  # of the on-demand one
STACK_TAG, OWNER_TAG = "sweepfleet:stack", "sweepfleet:owner"  # on everything of a stack

BLOCKS_BITS = 3  # the VPC in eight blocks: the head's, and one for each zone letter from a to g
RESERVED_ADDRESSES = 5  # of every subnet, AWS keeps the first four and the last
ZONE_LETTERS = "abcdefg"
WIDEST_VPC, NARROWEST_VPC = 16, 25  # AWS's widest; a /25 makes subnets of /28, AWS's narrowest


HEAD_DISK_GB = 20  # the head's system disk: system, uv, releases and environments; runs are on the data volume


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """How the VPC's addresses are given out. A zone's block depends on its letter alone: adding one moves none."""

    vpc_cidr: str

    def _block(self, index: int) -> ipaddress.IPv4Network:
        network = ipaddress.IPv4Network(self.vpc_cidr)
        return list(network.subnets(prefixlen_diff=BLOCKS_BITS))[index]

    @property
    def head_cidr(self) -> str:
        """The public subnet: the head, and a NAT gateway where there is one."""
        return str(self._block(0))

    @property
    def head_ip(self) -> str:
        """The head's private address: the tenth of its subnet, past what AWS keeps for itself."""
        return str(self._block(0)[10])

    def workers_cidr(self, zone: str) -> str:
        """A zone's worker subnet; `zone` ends in a letter of `ZONE_LETTERS`."""
        return str(self._block(1 + ZONE_LETTERS.index(zone[-1])))

    @property
    def workers_per_zone(self) -> int:
        """How many workers fit into one zone's subnet."""
        return self._block(1).num_addresses - RESERVED_ADDRESSES


@dataclass(frozen=True, slots=True)
class BucketLayout:
    """The bucket's prefixes, each with its writers and readers. `me` is a machine's own id, as its role has it."""

    releases: str = "releases/"  # the head writes, all read: code, by hash, and `current.json`
    environments: str = "environments/"  # the head writes, all read: Python environments, by lock hash
    tls: str = "tls/"  # the head writes, all read: the cluster's CA certificate
    runs: str = "runs/"  # the head writes: snapshots of runs; workers what points wrote, and nothing else there
    checkpoints: str = "checkpoints/"  # workers write and read what points continue from; the head removes it
    stored: str = "stored/"  # the head writes: what active runs have so far, its own answers
    hosts: str = "hosts/"  # every machine writes under its own id, the operator reads: SSH host keys
    requests: str = "requests/"  # every machine writes under its own id, the head reads: certificate requests
    certificates: str = "certificates/"  # the head writes, a machine reads under its own id
    inbox: str = "inbox/"  # the operator's pipeline writes, the head reads and does what is asked
    outbox: str = "outbox/"  # the head writes what it says to that
    pipeline: str = "pipeline/"  # the operator's pipeline alone: which sweeps it has handed over

    @property
    def current(self) -> str:
        """The key that names the release to run; machines wait for it."""
        return f"{self.releases}current.json"

    @property
    def fleet(self) -> str:
        """The key of the note of the release that scheduler and workers run."""
        return f"{self.releases}fleet.json"

    def host_key(self, me: str) -> str:
        """The key of a machine's public SSH host key."""
        return f"{self.hosts}{me}/ssh_host_ed25519_key.pub"

    def request(self, me: str) -> str:
        """The key of a machine's certificate request."""
        return f"{self.requests}{me}/csr.pem"

    @property
    def answers(self) -> str:
        """The key of what the head knows of its runs, for who asks while it is off."""
        return f"{self.stored}head.json"

    @property
    def parts(self) -> str:
        """The prefix of what active runs have so far."""
        return f"{self.stored}runs/"

    def artifacts(self, run: str) -> str:
        """The keys of what the points of a run wrote."""
        return f"{self.runs}{run}/artifacts/*"


@dataclass(frozen=True, slots=True)
class MachinePaths:
    """All paths on the machines that the boot text makes or later parts use."""

    home: str = "/opt/sweepfleet"  # releases and environments; made anew on a new machine
    data: str = "/srv/sweepfleet"  # the head's data volume; outlives the head
    config: str = "/etc/sweepfleet"
    lib: str = "/usr/local/lib/sweepfleet"  # the boot text's own scripts

    @property
    def facts(self) -> str:
        """What the stack tells a machine, as KEY=value lines for shells and units."""
        return f"{self.config}/machine.env"

    @property
    def current(self) -> str:
        """The link to the release that runs."""
        return f"{self.home}/current"

    @property
    def code(self) -> str:
        """Where commands on a machine find the package: the current release has it."""
        return self.code_of(self.current)

    @staticmethod
    def code_of(release: str) -> str:
        """The same of a release's folder."""
        return f"{release}/.sweepfleet/code"

    @property
    def runs(self) -> str:
        """The runs' folder on the head."""
        return f"{self.data}/runs"


def stack_tags(*, stack: str, owner: str) -> dict[str, str]:
    """The tags that everything of a stack carries."""
    return {STACK_TAG: stack, OWNER_TAG: owner}
