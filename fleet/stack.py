"""Which stack, with which settings: what every command needs to know before it asks Pulumi for anything."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.cloud import Cloud
from fleet.own_address import own_cidr
from fleet.pulumi_cli import PulumiCli, settings_of
from grid.errors import UsageError
from infra.checks import stack_name
from infra.problems import SettingsError
from infra.settings import KEYS, PROJECT, Settings, read

DEFAULT_STACK = "dev"
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


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
    config: Mapping[str, str], *, new: bool, address_url: str, environment: Mapping[str, str] = os.environ
) -> list[Choice]:
    """What nobody has set, and this machine can tell: who may log in, with which key, who answers for it.

    Args:
        config: the stack's configuration with Pulumi.yaml's defaults, by full key.
        new: the stack has just been made, and its file names no region: it is the shell's then.
        address_url: answers with the caller's address.
        environment: the shell's.

    Raises:
        ClusterError: this machine's address cannot be found out.
    """
    settings = settings_of(config)
    made = []
    region = next((environment[name] for name in REGION_VARIABLES if environment.get(name)), None)
    if new and region and region != config.get("aws:region"):
        made.append(Choice("aws:region", region, "the region of your shell"))
    if "sshCidrs" not in settings:
        made.append(Choice("sshCidrs[0]", own_cidr(address_url), "this machine's address; others cannot log in"))
    key = Path(str(KEYS["sshPublicKey"].default)).expanduser()
    if settings.get("sshPublicKey") == KEYS["sshPublicKey"].default and key.is_file():
        made.append(Choice("sshPublicKey", key.read_text().strip(), f"from {key}, the same for whoever deploys"))
    if settings.get("owner") == KEYS["owner"].default:
        made.append(Choice("owner", getpass.getuser(), "your user name, as a tag"))
    return made


def names_region(settings: Path) -> bool:
    """Whether a stack's file has a region of its own; asked of Pulumi, it is the default where there is none."""
    return settings.exists() and re.search(r"^ +aws:region:", settings.read_text(), re.MULTILINE) is not None


def with_choices(config: Mapping[str, str], made: list[Choice]) -> dict[str, str]:
    """The configuration as it would be with these choices."""
    mended = dict(config)
    for choice in made:
        name, _, place = choice.path.partition("[")
        full = name if ":" in name else f"{PROJECT}:{name}"
        mended[full] = f'["{choice.value}"]' if place else choice.value
    return mended


def checked(config: Mapping[str, str], *, stack: str) -> Settings:
    """The settings of a stack's configuration.

    Raises:
        UsageError: they cannot be used; with every problem.
    """
    try:
        return read(settings_of(config), stack=stack.rpartition("/")[2], region=config["aws:region"])
    except SettingsError as error:
        raise UsageError(f"stack {stack}: {error}") from None


def cloud_of(config: Mapping[str, str]) -> Cloud:
    """The account and region that a stack's configuration points to."""
    return Cloud(
        region=config["aws:region"],
        profile=config.get("aws:profile") or None,
        endpoint_url=settings_of(config).get("endpointUrl", ""),
    )
