"""The account stack's settings: read once, checked as a whole, frozen.

`account/Pulumi.yaml` declares the same keys to Pulumi, with the same defaults and descriptions; a test holds the
two together.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sweepfleet.infra.checks import TAG_VALUE, stack_name, unknown_key
from sweepfleet.infra.problems import Problem, SettingsError

PROJECT = "sweepfleet-account"
ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}
WORD = r"[A-Za-z0-9_.-]+"
# A name that is free again can be taken by others, an id cannot: tokens of newer repositories have both.
# https://docs.github.com/en/actions/reference/security/oidc
REPOSITORIES = {
    "github": re.compile(rf"{WORD}/{WORD}|{WORD}@\d+/{WORD}@\d+"),
    "gitlab": re.compile(rf"{WORD}(/{WORD})+"),
}
EXAMPLES = {"github": "octo-org@123456/sweeps@456789", "gitlab": "octo-group/sweeps"}
BRANCH = re.compile(rf"{WORD}(/{WORD})*")
ENVIRONMENT = re.compile(WORD)
PROVIDER_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:oidc-provider/(?P<issuer>\S+)")


def _key(name: str, help_text: str, default: str) -> Any:
    """A setting: its key in Pulumi's configuration, what it means, and its default."""
    return field(default=default, metadata={"key": name, "help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Whom the account trusts. `read` makes one and checks it."""

    repository: str = _key(
        "repository",
        "The repository as its tokens name it: owner@ID/name@ID, or owner/name before July 2026; on GitLab, the "
        "project's path.",
        "",  # Pulumi would name this one alone, and not what else is wrong
    )
    forge: str = _key("forge", "Where the repository is: github or gitlab.", "github")
    branch: str = _key("branch", "The branch that is deployed.", "main")
    environment: str = _key("environment", "GitHub's environment that the deploying jobs name.", "sweepfleet")
    issuer_url: str = _key(
        "issuerUrl", "Who issues the tokens, for a forge of your own; empty: github.com's or gitlab.com's issuer.", ""
    )
    identity_provider_arn: str = _key(
        "identityProviderArn",
        "The issuer's identity provider, when the account has one already; empty: it is made.",
        "",
    )
    owner: str = _key("owner", "Who is responsible for the pipeline; a tag on everything in it.", "unset")

    @property
    def issuer(self) -> str:
        """The issuer as AWS names it: without the scheme."""
        return (self.issuer_url or ISSUERS[self.forge]).removeprefix("https://")


KEYS = {one.metadata["key"]: one for one in dataclasses.fields(Settings)}


def read(values: Mapping[str, str], *, stack: str) -> Settings:
    """Settings from Pulumi's configuration, checked.

    Args:
        values: the project's keys, without the project's name. A missing key takes its default.
        stack: its name, which becomes part of the names of what it is made of.

    Raises:
        SettingsError: with all problems.
    """
    problems = [
        *stack_name(stack),
        *(unknown_key(name, KEYS, listed="account/Pulumi.yaml") for name in values if name not in KEYS),
    ]
    given = {KEYS[name].name: value.strip() for name, value in values.items() if name in KEYS}
    found = {one.name: str(one.default) for one in KEYS.values()} | given
    problems += check(found)
    if problems:
        raise SettingsError(problems)
    return Settings(**found)


def check(found: Mapping[str, str]) -> Iterator[Problem]:
    """All that is wrong with these settings, by attribute."""
    forge = found["forge"]
    if forge not in ISSUERS:
        yield Problem(
            "forge",
            f"`{forge}` is not a supported forge. Use {' or '.join(f'`{one}`' for one in ISSUERS)}.",
            "github",
        )
        forge = "github"
    if not found["repository"]:
        yield Problem("repository", f"is not set. {KEYS['repository'].metadata['help']}", EXAMPLES[forge])
    elif forge == found["forge"] and not REPOSITORIES[forge].fullmatch(found["repository"]):
        said = f"`{found['repository']}` does not name one repository of {forge}, without patterns."
        yield Problem("repository", said, EXAMPLES[forge])
    if not BRANCH.fullmatch(found["branch"]):
        yield Problem("branch", f"`{found['branch']}` does not name one branch, without patterns.", "main")
    if not ENVIRONMENT.fullmatch(found["environment"]):
        said = f"`{found['environment']}` does not name one environment: letters, digits and . - _ only."
        yield Problem("environment", said, "sweepfleet")
    if not TAG_VALUE.fullmatch(found["owner"]):
        said = f"`{found['owner'][:60]}` cannot be an AWS tag: 1 to 256 letters, digits, spaces and . : / = + - @ _."
        yield Problem("owner", said, "ada@example.org")
    yield from identity(found["issuer_url"] or ISSUERS[forge], found["identity_provider_arn"])


def identity(issuer_url: str, provider_arn: str) -> Iterator[Problem]:
    """An issuer that AWS can ask for its keys, and the provider of that issuer."""
    parts = urlsplit(issuer_url)
    if parts.scheme != "https" or parts.netloc != parts.hostname or parts.query or parts.path.endswith("/"):
        said = (
            f"`{issuer_url}` is not an issuer that AWS accepts. Use https, a host in lowercase letters, and a "
            "path if it has one."
        )
        yield Problem("issuerUrl", said, "https://gitlab.example.org")
        return
    if not provider_arn:
        return
    match = PROVIDER_ARN.fullmatch(provider_arn)
    issuer = issuer_url.removeprefix("https://")
    if match is None or match["issuer"] != issuer:
        yield Problem(
            "identityProviderArn",
            f"`{provider_arn}` is not the identity provider of {issuer}. List those of the account: aws iam "
            "list-open-id-connect-providers",
            f"arn:aws:iam::123456789012:oidc-provider/{issuer}",
        )
