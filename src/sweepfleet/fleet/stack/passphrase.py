"""The passphrase of a stack's secrets: checked before anything is made, asked for once, given to every call."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.grid.errors import UsageError

VARIABLE, FILE_VARIABLE = "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"
TYPE = "passphrase"  # of a secrets provider
ATTEMPTS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """A stack whose secrets are encrypted with a passphrase."""

    stack: str
    salt: str  # what a passphrase is checked against; empty before there is a stack

    @property
    def ways(self) -> str:
        """The lines to type, one of which gives every command the passphrase or makes it needless."""
        if self.salt:
            key = f"pulumi stack change-secrets-provider --stack {self.stack}"
        else:
            key = f"pulumi stack init {self.stack} --secrets-provider"
        return (
            "In this shell:     read -rs PULUMI_CONFIG_PASSPHRASE && export PULUMI_CONFIG_PASSPHRASE\n"
            "In a file:         install -m 600 /dev/stdin ~/.pulumi-passphrase   (type it, Enter, Ctrl-D)\n"
            "                   export PULUMI_CONFIG_PASSPHRASE_FILE=~/.pulumi-passphrase\n"
            f"A KMS key instead: {key} 'awskms://alias/NAME?region=REGION'"
        )


def given(environment: Mapping[str, str]) -> bool:
    """Whether Pulumi finds a passphrase in the environment; an empty one counts, an empty file's name does not."""
    return VARIABLE in environment or bool(environment.get(FILE_VARIABLE))


def need(pulumi: PulumiCli, stack: str, *, settings: Path) -> Need | None:
    """The passphrase that Pulumi asks for; None for a stack whose secrets are encrypted otherwise.

    Args:
        pulumi: the command.
        stack: may not exist yet.
        settings: its file, which may not exist; it counts before the state, as for Pulumi.

    Raises:
        ClusterError: Pulumi cannot tell.
    """
    text = settings.read_text() if settings.exists() else ""
    provider = re.search(r"^secretsprovider: *[\"']?([^\s\"']+)", text, re.MULTILINE)
    if provider and provider.group(1) not in {TYPE, "default"}:
        return None
    salt = re.search(r"^encryptionsalt: *[\"']?([^\s\"']+)", text, re.MULTILINE)
    if salt:
        return Need(stack, salt.group(1))
    if pulumi.has_stack(stack):
        kind, state_salt = pulumi.secrets_provider(stack)
        if kind:
            return Need(stack, state_salt) if kind == TYPE else None
    if pulumi.backend().startswith("http"):  # Pulumi's service encrypts with a key of its own
        return None
    return Need(stack, "")


def unlock(
    pulumi: PulumiCli,
    stack: str,
    *,
    settings: Path,
    ask: Callable[[str], str] | None,
    environment: Mapping[str, str] = os.environ,
) -> PulumiCli:
    """The command with the passphrase in the environment of each call, asked for where the shell has none.

    It is in no file and on no command line.

    Args:
        pulumi: the command.
        stack: may not exist yet.
        settings: its file.
        ask: asks on the terminal without showing what is typed; None: nobody is there.
        environment: the shell's.

    Raises:
        UsageError: there is none, and nobody can be asked; has the lines to type.
        ClusterError: it is not the stack's.
    """
    needed = need(pulumi, stack, settings=settings)
    if needed is None:
        return pulumi
    if given(environment):
        if not _fits(pulumi, needed):
            name = VARIABLE if VARIABLE in environment else f"{FILE_VARIABLE}={environment[FILE_VARIABLE]}"
            raise ClusterError(f"{name} does not have the passphrase of the stack {stack}. {_forgotten(stack)}")
        return pulumi
    if ask is None:
        raise UsageError(
            f"Pulumi encrypts the secrets of the stack {stack} with a passphrase. It is not set, and there is no "
            "terminal to ask on. Nothing was changed. Set it in one of these ways, then run the command again:\n"
            f"{needed.ways}"
        )
    return _asked(pulumi, needed, ask)


def _asked(pulumi: PulumiCli, needed: Need, ask: Callable[[str], str]) -> PulumiCli:
    stack = needed.stack
    if not needed.salt:
        typed = ask(f"A passphrase for the new stack {stack}, which encrypts its secrets (not shown): ")
        if ask("Repeat it: ") != typed:
            raise UsageError("The two passphrases differ. Nothing was changed.")
        return _with(pulumi, typed)
    question = f"Passphrase of the stack {stack} (not shown): "
    for _ in range(ATTEMPTS):
        unlocked = _with(pulumi, ask(question))
        if _fits(unlocked, needed):
            return unlocked
        question = f"Wrong passphrase. Passphrase of the stack {stack} (not shown): "
    raise ClusterError(f"That is not the passphrase of the stack {stack}. {_forgotten(stack)}")


def _with(pulumi: PulumiCli, passphrase: str) -> PulumiCli:
    return dataclasses.replace(pulumi, environment={**pulumi.environment, VARIABLE: passphrase})


def _fits(pulumi: PulumiCli, needed: Need) -> bool:
    """Whether the passphrase is the stack's; before there is a stack, any is."""
    if not needed.salt or not pulumi.has_stack(needed.stack):
        return True
    return pulumi.passphrase_fits(needed.stack, needed.salt)


def _forgotten(stack: str) -> str:
    return (
        "Nothing was changed. If it is lost, set a new one (sweepfleet keeps no secrets in the stack): "
        f"{VARIABLE}= pulumi stack change-secrets-provider --stack {stack} passphrase"
    )
