"""What `inv ssh-config` writes for OpenSSH and all that read its configuration: man 5 ssh_config. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WAKE_S = 600
HEADER = re.compile(r"# sweepfleet: stack (\S+), head (\S+), of (.*)")
NOTE = "# Added by `inv ssh-config`, removed by `inv ssh-config --remove`. Must be above the first Host."


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts of one stack, as its block has them."""

    stack: str
    root: Path  # of the checkout that reaches its workers
    head_id: str
    user: str
    identity_file: Path | None  # None: the SSH agent has the key, or one of the default names is it
    known_hosts: Path
    workers_known_hosts: Path  # written whenever somebody connects to a worker
    python: Path  # that has this package
    profile: str  # of AWS; empty for none

    @property
    def name(self) -> str:
        """The head's name."""
        return host_name(self.stack)


@dataclass(frozen=True, slots=True)
class Written:
    """Whose a block is, as its first line says it."""

    stack: str
    head_id: str
    root: Path


def host_name(stack: str) -> str:
    """How ssh knows a stack's head."""
    return f"sweepfleet-{stack}"


def worker_patterns(stack: str) -> tuple[str, str]:
    """How ssh knows its workers: by number, and by instance id."""
    return f"{host_name(stack)}-worker-*", f"{host_name(stack)}-i-*"


def block(hosts: Hosts) -> str:
    """A stack's file: its head and its workers, with their host keys and no others."""
    proxy = [str(hosts.python), "-m", "sweepfleet.fleet.reach.ssh_proxy", "--root", str(hosts.root)]
    proxy += ["--stack", hosts.stack, *(["--profile", hosts.profile] if hosts.profile else [])]
    common = [
        f"User {hosts.user}",
        "GlobalKnownHostsFile /dev/null",
        "StrictHostKeyChecking yes",
        "UpdateHostKeys no",
        "ForwardAgent no",
        "ServerAliveInterval 15",
    ]
    if hosts.identity_file:
        # an agent with many keys is refused before it comes to this one
        common += [f"IdentityFile {_quoted(hosts.identity_file, tokens=True)}", "IdentitiesOnly yes"]
    # A shell reads it, and old versions of ssh pass on any name that was typed.
    common += [f"ProxyCommand {' '.join(shlex.quote(word).replace('%', '%%') for word in proxy)} '%n'"]
    head = [f"HostKeyAlias {hosts.name}", f"UserKnownHostsFile {_quoted(hosts.known_hosts)}"]
    head += [f"ConnectTimeout {WAKE_S}"]  # a head that is asleep is started first
    workers = [f"UserKnownHostsFile {_quoted(hosts.workers_known_hosts)}", "ConnectTimeout 30"]
    return (
        f"# sweepfleet: stack {hosts.stack}, head {hosts.head_id}, of {hosts.root}\n"
        "# Written by `inv ssh-config`, which overwrites it.\n"
        + _host(hosts.name, [*head, *common])
        + "# The number of a worker is its place in `inv status`; an instance id means one machine.\n"
        + _host(" ".join(worker_patterns(hosts.stack)), [*workers, *common])
    )


def written(text: str) -> Written | None:
    """Whose a stack's file is; None where `block` has not written it."""
    found = HEADER.match(text)
    return Written(found[1], found[2], Path(found[3])) if found else None


def with_include(config: bytes, pattern: str) -> bytes:
    """A user's configuration with our files; the same where it has them. Every byte of the user's stays as it is."""
    return config if includes(config, pattern) else _include(pattern) + config


def without_include(config: bytes, pattern: str) -> bytes:
    """The same without what `with_include` has added; a line that the user has written stays."""
    return config.replace(_include(pattern), b"", 1)


def includes(config: bytes, pattern: str) -> bool:
    """Whether a configuration has our files, for every host."""
    for _, keyword, values in directives(config.decode(errors="replace")):
        if keyword in ("host", "match"):
            return False
        if keyword == "include" and pattern in values:
            return True
    return False


def directives(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """The lines of a configuration that say something: number, keyword in lower case, values."""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*)", line)
        if found:
            values = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', found[2])]
            yield number, found[1].lower(), values


def _include(pattern: str) -> bytes:
    return f"{NOTE}\nInclude {_quoted(Path(pattern)) if ' ' in pattern else pattern}\n\n".encode()


def _host(patterns: str, settings: list[str]) -> str:
    return f"Host {patterns}\n" + "".join(f"    {line}\n" for line in settings)


def _quoted(path: Path, *, tokens: bool = False) -> str:
    """A path as ssh reads it, with blanks in it; `tokens`: a keyword that fills in what follows a %."""
    text = str(path).replace("%", "%%") if tokens else str(path)
    return f'"{text}"'
