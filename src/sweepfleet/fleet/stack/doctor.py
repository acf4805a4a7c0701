"""Looks for whatever would keep a cluster from coming up, and says how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sweepfleet import infra
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.reach.ssh_config import host_name
from sweepfleet.fleet.reach.ssh_config_files import stale
from sweepfleet.fleet.reach.ssh_folder import SshFolder
from sweepfleet.fleet.reach.ssh_keys import agent_keys, has_passphrase, key_body, private_key_of
from sweepfleet.fleet.stack import passphrase
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.boundary import BoundaryError, examine_boundary
from sweepfleet.fleet.stack.pulumi_cli import INSTALL, PulumiCli
from sweepfleet.fleet.stack.quotas import quotas
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.wording import counted, from_here
from sweepfleet.infra.settings import KEYS, Settings

OPERATOR_POLICY = from_here(Path(infra.__file__).parents[1] / "account" / "operator-policy.json")
PACKAGES = ("sweepfleet", "pulumi", "pulumi-aws", "boto3", "distributed")
ANY_REGION = "us-east-1"  # to ask who one is
LOG_IN = "pulumi login (Pulumi's service), pulumi login s3://BUCKET, or pulumi login --local (this machine alone)"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    subject: str
    said: str
    good: bool = True
    fix: str = ""  # what to do, where `said` does not hold it already


def examine(root: Path, *, asked_stack: str, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check everything, one finding after the other; reads only, and no check keeps another from being made.

    Args:
        root: the checkout.
        asked_stack: as typed; empty for the selected one, or `dev`.
        environment: the shell's.
    """
    pulumi = PulumiCli(root)
    yield _versions()
    yield _program("uv", "It runs the project and the Pulumi program. Install it: pip install uv")
    yield _program("ssh", "Install OpenSSH's client, e.g. apt install openssh-client")
    installed = _finding("pulumi", lambda: _pulumi(pulumi), INSTALL)
    yield installed
    stack = stacks.DEFAULT_STACK
    config: dict[str, str] = {}
    stands = ""
    if installed.good:
        login = _finding("pulumi login", pulumi.whoami, LOG_IN)
        yield login
        if login.good:
            stack, config, stands, finding = _stack(pulumi, asked_stack)
            yield finding
            yield _passphrase(pulumi, stack, environment)
    region, why = _region(config, environment, stands_in=stands)
    settings, finding = _settings(config | ({stacks.REGION: region or ANY_REGION} if config else {}), stack=stack)
    yield finding
    yield _ssh_key(settings.ssh_public_key if settings else "")
    for name, (said, fix) in stale(SshFolder.own()).items():
        yield Finding("SSH configuration", f"the host {host_name(name)} is stale: {said}", good=False, fix=fix)

    cloud = _cloud(config, region or ANY_REGION, environment)
    credentials = _finding("AWS credentials", lambda: _identity(cloud))
    yield credentials
    if not region:
        yield Finding("region", why, good=False)
    elif credentials.good:
        yield _finding("region", lambda: f"{_zones(cloud)}, {why}", f"pulumi config set {stacks.REGION} us-east-1")
    if region and credentials.good and settings is not None:
        yield _boundary(cloud, settings)
        yield from _quotas(cloud, settings)


def _finding(subject: str, check: Callable[[], str], fix: str = "") -> Finding:
    """What a check says, or why it failed."""
    try:
        return Finding(subject, check())
    except ClusterError as error:
        return Finding(subject, str(error).splitlines()[0], good=False, fix=fix)


def _stack(pulumi: PulumiCli, asked: str) -> tuple[str, dict[str, str], str, Finding]:
    """The stack's name, its configuration (empty before there is a stack), and the region of its resources."""
    try:
        stack = stacks.chosen_stack(pulumi, asked)
        if pulumi.has_stack(stack):
            stands = stacks.stands_in(pulumi.resources(stack))
            return stack, pulumi.config(stack), stands, Finding("stack", stack)
        return stack, {}, "", Finding("stack", f"{stack} does not exist yet; inv up creates it")
    except SweepfleetError as error:
        return stacks.DEFAULT_STACK, {}, "", Finding("stack", str(error), good=False)


def _passphrase(pulumi: PulumiCli, stack: str, environment: Mapping[str, str]) -> Finding:
    """Whether Pulumi has what it encrypts the stack's secrets with."""
    settings = stacks.settings_file(pulumi.root, stack)
    file = environment.get(passphrase.FILE_VARIABLE, "")
    try:
        needed = passphrase.need(pulumi, stack, settings=settings)
        if needed is None:
            return Finding("passphrase", "is not needed")
        if not passphrase.given(environment):
            said = f"{stack} needs one and it is not set: commands ask for it, and fail where there is no terminal"
            return Finding("passphrase", said, good=False, fix=needed.ways)
        passphrase.unlock(pulumi, stack, settings=settings, ask=None, environment=environment)
    except SweepfleetError as error:
        return Finding("passphrase", str(error).splitlines()[0], good=False)
    if passphrase.VARIABLE not in environment and Path(file).stat().st_mode & 0o077:
        return Finding("passphrase", f"other users can read {file}", good=False, fix=f"chmod 600 {file}")
    return Finding("passphrase", "is set")


def _versions() -> Finding:
    known = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return Finding("versions", f"Python {platform.python_version()}, {known}")


def _program(name: str, fix: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path) if path else Finding(name, "is not on the PATH", good=False, fix=fix)


def _pulumi(pulumi: PulumiCli) -> str:
    if shutil.which("pulumi") is None:
        raise ClusterError("is not on the PATH")
    pulumi.require()
    return ".".join(map(str, pulumi.version()))


def _settings(config: Mapping[str, str], *, stack: str) -> tuple[Settings | None, Finding]:
    """The stack's settings; before there is a stack, those that a new one would have."""
    if not config:
        return Settings(ssh_cidrs=(), ssh_public_key=""), Finding("settings", "the defaults; there is no stack yet")
    try:
        return stacks.checked(config, stack=stack), Finding("settings", "valid")
    except UsageError as error:
        first, *rest = str(error).splitlines()
        return None, Finding("settings", first, good=False, fix="\n".join(line.strip() for line in rest))


def _ssh_key(public_key: str) -> Finding:
    """Whether this machine has the private key of a public one; of the default one, when it is empty."""
    default = Path(str(KEYS["sshPublicKey"].default)).expanduser()
    private = private_key_of(public_key) if public_key else default.with_suffix("")
    if private is None and key_body(public_key) in agent_keys():
        return Finding("SSH key", "in the SSH agent")
    if private is None:
        said = "this machine has no private key for the stack's sshPublicKey"
        fix = (
            "Use the machine that has the key. Or set this machine's key: pulumi config set sshPublicKey "
            "'~/.ssh/id_ed25519.pub', then inv up --renew-head if the cluster is up"
        )
        return Finding("SSH key", said, good=False, fix=fix)
    public = private.with_name(f"{private.name}.pub")
    if not public.is_file():
        return Finding("SSH key", f"{public} does not exist", good=False, fix="ssh-keygen -t ed25519")
    if not private.is_file():
        return Finding(
            "SSH key", f"{public} exists, {private} does not", good=False, fix=(f"Put the private key at {private}")
        )
    if private.stat().st_mode & 0o077:
        said = f"other users can read {private}, so ssh does not use it"
        return Finding("SSH key", said, good=False, fix=f"chmod 600 {private}")
    if has_passphrase(private) and key_body(public.read_text(errors="replace")) not in agent_keys():
        said = f"{private} has a passphrase, and the SSH agent does not have it"
        return Finding("SSH key", said, good=False, fix=f"ssh-add {private}")
    return Finding("SSH key", str(private))


def _region(config: Mapping[str, str], environment: Mapping[str, str], *, stands_in: str) -> tuple[str, str]:
    """The region that `inv up` takes, and from where; empty with what to do where there is none."""
    try:
        choice = stacks.region_choice(config, stands_in=stands_in, environment=environment)
    except SweepfleetError as error:
        return "", str(error)
    return (choice.value, choice.why) if choice else (config[stacks.REGION], "from the stack's settings")


def _cloud(config: Mapping[str, str], region: str, environment: Mapping[str, str]) -> Cloud:
    if config:
        return stacks.cloud_of({**config, stacks.REGION: region})
    return Cloud(region, endpoint_url=environment.get("AWS_ENDPOINT_URL", ""))


def _identity(cloud: Cloud) -> str:
    with asking_aws("look up your AWS account"):
        answer = cloud.client("sts").get_caller_identity()
    return f"account {answer['Account']}, {answer['Arn']}"


def _zones(cloud: Cloud) -> str:
    with asking_aws(f"list the zones of {cloud.region}"):
        answer = cloud.client("ec2").describe_availability_zones()["AvailabilityZones"]
    return f"{cloud.region} with {counted(len(answer), 'zone')}"


def _boundary(cloud: Cloud, settings: Settings) -> Finding:
    try:
        return Finding("machines' boundary", examine_boundary(cloud, settings))
    except BoundaryError as error:
        return Finding("machines' boundary", str(error), good=False, fix=error.fix)
    except ClusterError as error:
        fix = f"Attach the current {OPERATOR_POLICY}, which may read this policy"
        return Finding("machines' boundary", str(error).splitlines()[0], good=False, fix=fix)


def _quotas(cloud: Cloud, settings: Settings) -> Iterator[Finding]:
    try:
        found = quotas(cloud, settings)
    except ClusterError as error:
        fix = "Look it up in AWS's console: Service Quotas, Amazon EC2"
        yield Finding("quota", str(error), good=False, fix=fix)
        return
    for one in found:
        said = (
            f"{one.kind}: the cluster may use {one.asked_vcpus} vCPUs, the account's limit is {one.allowed_vcpus} "
            f"({one.code})"
        )
        fix = (
            "Raise the limit: aws service-quotas request-service-quota-increase --service-code ec2 "
            f"--quota-code {one.code} --desired-value {one.asked_vcpus}\nOr set a smaller maxWorkers"
        )
        enough = one.asked_vcpus <= one.allowed_vcpus
        yield Finding("quota", said, good=enough, fix="" if enough else fix)
