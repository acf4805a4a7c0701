"""Which stack, with which settings: what every command needs to know before it asks Pulumi for anything."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.reach.cloud import Cloud, profile_region
from sweepfleet.fleet.stack.own_address import own_cidr
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli, settings_of
from sweepfleet.fleet.stack.pulumi_state import Resource
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.checks import stack_name
from sweepfleet.infra.problems import SettingsError
from sweepfleet.infra.settings import KEYS, PROJECT, Settings, read

DEFAULT_STACK = "dev"
PROVIDER = "pulumi:providers:aws"
REGION = "aws:region"  # Pulumi's own key
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")  # in the order of AWS's own tools


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting that was made for the user, since nobody had made it."""

    path: str  # as `pulumi config set --path` takes it
    value: str
    why: str


def chosen_stack(pulumi: PulumiCli, asked: str) -> str:
    """The stack's name: as asked for, else the one that is selected in Pulumi, else `dev`.

    Raises:
        UsageError: no cluster can have this name.
    """
    stack = asked or pulumi.selected() or DEFAULT_STACK
    for problem in stack_name(stack.rpartition("/")[2]):
        raise UsageError(f"{problem.key}: {problem.message}")
    return stack


def require_stack(pulumi: PulumiCli, stack: str) -> None:
    """Be sure that there is such a stack.

    Raises:
        UsageError: there is none; says how to make it.
    """
    if not pulumi.has_stack(stack):
        raise UsageError(
            f"There is no stack {stack} here. Make it: inv up --stack {stack} (it shows what it will do, and asks)"
        )


def choices(
    config: Mapping[str, str], *, stands_in: str, address_url: str, environment: Mapping[str, str] = os.environ
) -> list[Choice]:
    """What nobody has set, and this machine can tell: where, who may log in, with which key, who answers for it.

    Args:
        config: the stack's configuration with Pulumi.yaml's defaults, by full key.
        stands_in: the region of what the stack has made; empty when it has nothing.
        address_url: answers with the caller's address.
        environment: the shell's.

    Raises:
        UsageError: there is no region anywhere, or it is another than the one that the stack stands in.
        ClusterError: this machine's address cannot be found out.
    """
    settings = settings_of(config)
    made = [one for one in [region_choice(config, stands_in=stands_in, environment=environment)] if one]
    if "sshCidrs" not in settings:
        made.append(Choice("sshCidrs[0]", own_cidr(address_url), "this machine's address; others cannot log in"))
    key = Path(str(KEYS["sshPublicKey"].default)).expanduser()
    if settings.get("sshPublicKey") == KEYS["sshPublicKey"].default and key.is_file():
        made.append(Choice("sshPublicKey", key.read_text().strip(), f"from {key}, the same for everyone who deploys"))
    if settings.get("owner") == KEYS["owner"].default:
        made.append(Choice("owner", getpass.getuser(), "your user name, as a tag"))
    return made


def region_choice(
    config: Mapping[str, str], *, stands_in: str, environment: Mapping[str, str] = os.environ
) -> Choice | None:
    """The region that nobody has set for a stack: where it stands, else the shell's, else the AWS profile's.

    Returns:
        None when it is set.

    Raises:
        UsageError: there is none anywhere, or what is set is not where the stack stands.
    """
    region = config.get(REGION)
    if region and stands_in and region != stands_in:
        raise UsageError(
            f"The stack's resources are in {stands_in}, and {REGION} is {region}. A stack cannot move to another "
            f"region. Set it back: pulumi config set {REGION} {stands_in}. For a cluster in {region}, use another "
            "stack: inv up --stack NAME"
        )
    if region:
        return None
    if stands_in:
        return Choice(REGION, stands_in, "the region of the stack's resources")
    for name in REGION_VARIABLES:
        if environment.get(name):
            return Choice(REGION, environment[name], f"from {name}")
    profile, region = profile_region(config.get("aws:profile"))
    if region:
        return Choice(REGION, region, f"from the AWS profile '{profile}'")
    raise UsageError(
        f"No AWS region is set: not by {REGION} in the stack's settings, not by AWS_REGION, not in the AWS profile "
        f"'{profile}'. There is no default. Set one, e.g. pulumi config set {REGION} eu-central-1, or "
        f"aws configure set region eu-central-1 --profile {profile}"
    )


def stands_in(resources: Iterable[Resource]) -> str:
    """The region of what a stack has made; empty when it has made nothing."""
    return next((one.region for one in resources if one.type == PROVIDER and one.region), "")


def settings_file(root: Path, stack: str) -> Path:
    """The file of a stack's settings, which somebody may have made before the stack."""
    return root / f"Pulumi.{stack.rpartition('/')[2]}.yaml"


def with_choices(config: Mapping[str, str], made: list[Choice]) -> dict[str, str]:
    """The configuration as it would be with these choices."""
    mended = dict(config)
    for choice in made:
        name, _, place = choice.path.partition("[")
        full = name if ":" in name else f"{PROJECT}:{name}"
        mended[full] = f'["{choice.value}"]' if place else choice.value
    return mended


def region_of(config: Mapping[str, str]) -> str:
    """The region in a stack's configuration.

    Raises:
        UsageError: it has none.
    """
    if not config.get(REGION):
        raise UsageError(
            f"{REGION} is not set, and there is no default. Set it, e.g. pulumi config set {REGION} eu-central-1"
        )
    return config[REGION]


def checked(config: Mapping[str, str], *, stack: str) -> Settings:
    """The settings of a stack's configuration.

    Raises:
        UsageError: they cannot be used; with every problem.
    """
    try:
        return read(settings_of(config), stack=stack.rpartition("/")[2], region=region_of(config))
    except (SettingsError, UsageError) as error:
        raise UsageError(f"stack {stack}: {error}") from None


def cloud_of(config: Mapping[str, str]) -> Cloud:
    """The account and region that a stack's configuration points to. Raises UsageError: it has no region."""
    return Cloud(
        region=region_of(config),
        profile=config.get("aws:profile") or None,
        endpoint_url=settings_of(config).get("endpointUrl", ""),
    )
