"""The way to the head: SSH to a host key that the machine itself published with its role. The one home of fabric.

Fabric accepts whatever key a host shows; here a key that is not the published one stops everything.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import select
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import paramiko
from fabric import Config, Connection, Remote
from invoke.exceptions import CommandTimedOut, UnexpectedExit
from paramiko.pkey import UnknownKeyType

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.host_keys import HostKeyError, NotYetError, published_key
from sweepfleet.fleet.reach.ssh_keys import keys_to_try
from sweepfleet.infra.layout import SSH_PORT
from sweepfleet.infra.outputs import Outputs

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

CONNECT_S = 30
ALIVE_S, GONE_S = 15, 60  # between two signs of life; and after which without any the line is gone
CHUNK_BYTES = 65536
logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what it would print comes as an error of ours


class Bytes(Protocol):
    """Where a command's output goes."""

    def write(self, data: bytes, /) -> object:
        """Take some."""

    def flush(self) -> object:
        """Let it through."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on a machine said."""

    stdout: str
    stderr: str
    exit_code: int


class Host:
    """An open connection to one machine; made by `head` and `worker`."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name

    def ask(self, *words: str, sudo: bool = False, deadline_s: int = 120) -> str:
        """What a command prints.

        Raises:
            ClusterError: it failed, with what it said, or did not end in time, or the connection broke.
        """
        answer = self.run(*words, sudo=sudo, deadline_s=deadline_s)
        if answer.exit_code:
            said = (answer.stderr or answer.stdout).strip()
            raise ClusterError(f"[{self.name}] `{shlex.join(words)[:80]}` failed: {said or answer.exit_code}")
        return answer.stdout

    def run(
        self, *words: str, sudo: bool = False, deadline_s: int = 120, out: SupportsWrite[str] | None = None
    ) -> Answer:
        """Run a command to its end; what it prints goes to `out` as it comes, too.

        Raises:
            ClusterError: it did not end in time, or the connection broke.
        """
        command = _command(words, sudo=sudo)
        try:
            done = self._connection.run(
                command, hide=True, warn=True, timeout=deadline_s, in_stream=False, out_stream=out
            )
        except CommandTimedOut:
            raise ClusterError(f"[{self.name}] `{command[:80]}` did not end in {deadline_s} s") from None
        except (UnexpectedExit, OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"[{self.name}] the connection broke: {error}") from None
        if done.exited < 0:  # a command's own exit code is none of these
            raise ClusterError(f"[{self.name}] the connection broke before `{command[:80]}` had ended")
        return Answer(done.stdout, done.stderr, done.exited)

    def show(self, *words: str, out: Bytes, err: Bytes, sudo: bool = False) -> int:
        """Run a command with its output let through as it comes; returns its exit code, 128 and more for a signal.

        The command has no input. It is ended when this side goes away, for whatever reason.

        Raises:
            ClusterError: the connection broke.
        """
        try:
            channel = self._connection.client.get_transport().open_session(timeout=CONNECT_S)
            channel.exec_command(_command(("sh", "-c", LEASH, "leash", *words), sudo=sudo))
            with contextlib.closing(channel):
                while not _drained(channel, out, err):
                    select.select([channel], [], [], 1.0)
                code = int(channel.recv_exit_status())
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"[{self.name}] the connection broke: {error or 'no answer'}") from None
        if code < 0:
            raise ClusterError(f"[{self.name}] the connection broke before the command had ended")
        return code

    def lines(self, *words: str) -> Iterator[str]:
        """A command's output, line by line, as it comes.

        Raises:
            ClusterError: the connection broke, or nothing was heard for a minute.
        """
        try:
            channel = self._connection.client.get_transport().open_session(timeout=CONNECT_S)
            channel.settimeout(60)
            channel.exec_command(shlex.join(words))
            with contextlib.closing(channel), channel.makefile("r") as stream:
                yield from stream
                if channel.recv_exit_status():
                    said = channel.makefile_stderr("r").read()
                    raise ClusterError(f"[{self.name}] `{shlex.join(words)[:80]}`: {said.strip()}")
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"[{self.name}] the connection broke: {error or 'no answer'}") from None

    def put(self, file: Path, remote: str, *, sent: Callable[[int, int], object] | None = None) -> None:
        """Copy a file there; it appears whole. `sent` is told the bytes that have gone, and all of them."""
        try:
            sftp = self._connection.sftp()  # one for the connection's whole life, which closes it
            sftp.put(str(file), f"{remote}.part", callback=sent)
            sftp.posix_rename(f"{remote}.part", remote)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"[{self.name}] {file.name} could not be copied to the machine: {error}") from None


# Runs its words in a session of their own, and ends them when its input ends: with the connection.
LEASH = """
exec 3<&0
setsid "$@" </dev/null 3<&- & child=$!
{ cat <&3; kill -- "-$child"; } >/dev/null 2>&1 &
exec 3<&-
wait "$child"
"""


def _command(words: Sequence[str], *, sudo: bool) -> str:
    return shlex.join(["sudo", "-n", *words] if sudo else words)


def _drained(channel: Any, out: Bytes, err: Bytes) -> bool:
    """Let through what has come; whether nothing more will."""
    ended = channel.eof_received or channel.closed  # looked at first: what came before it is there then
    while channel.recv_ready():
        out.write(channel.recv(CHUNK_BYTES))
        out.flush()
    while channel.recv_stderr_ready():
        err.write(channel.recv_stderr(CHUNK_BYTES))
        err.flush()
    return bool(ended)


@contextlib.contextmanager
def head(cloud: Cloud, outputs: Outputs) -> Iterator[Host]:
    """Open a connection to the head, for as long as the block lasts.

    Raises:
        HostKeyError: the head's key is not the published one.
        NotYetError: nothing answers; says what to look at.
        ClusterError: nobody is let in.
    """
    keys = {outputs.head_ip: published_key(cloud, outputs, outputs.head_identity)}
    connection = _connection(outputs.head_ip, outputs, keys)
    with _opened(connection, f"the head at {outputs.head_ip}", outputs, instance_id=outputs.head_id):
        yield Host(connection, "head")


@contextlib.contextmanager
def worker(cloud: Cloud, outputs: Outputs, *, instance_id: str, address: str) -> Iterator[Host]:
    """Open a connection to a worker through the head; both keys are the published ones."""
    keys = {
        outputs.head_ip: published_key(cloud, outputs, outputs.head_identity),
        address: published_key(cloud, outputs, f"{outputs.worker_role_id}:{instance_id}"),
    }
    gateway = _connection(outputs.head_ip, outputs, keys)
    with _opened(gateway, f"the head at {outputs.head_ip}", outputs, instance_id=outputs.head_id):
        connection = _connection(address, outputs, keys, gateway=gateway)
        with _opened(connection, f"the worker {instance_id}", outputs, instance_id=instance_id):
            yield Host(connection, instance_id)


class _Runner(Remote):  # type: ignore[misc]
    """fabric's, which ends at Ctrl-C at once, and not with the command."""

    def send_interrupt(self, interrupt: KeyboardInterrupt) -> None:
        self.channel.close()
        raise interrupt


def _connection(
    address: str, outputs: Outputs, keys: Mapping[str, str], *, gateway: Connection | None = None
) -> Connection:
    """A connection that is not open yet: these host keys, nothing of the user's ssh configuration, no forwarding."""
    own = [str(key) for key in keys_to_try(outputs.ssh_public_key)]
    connection = Connection(
        address,
        user=outputs.ssh_user,
        port=SSH_PORT,
        config=Config(overrides={"load_ssh_configs": False, "runners": {"remote": _Runner}}),
        gateway=gateway,
        forward_agent=False,
        connect_timeout=CONNECT_S,
        connect_kwargs={
            "banner_timeout": CONNECT_S,
            "channel_timeout": CONNECT_S,
            "auth_timeout": CONNECT_S,
            "key_filename": own,
            "look_for_keys": False,
        },
    )
    client = connection.client
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for host, key in keys.items():
        kind, _, encoded = key.partition(" ")
        try:
            known = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
        except (ValueError, paramiko.SSHException, UnknownKeyType):
            raise HostKeyError(f"{host} has published a host key that cannot be used: {key[:80]!r}") from None
        client.get_host_keys().add(host, kind, known)
    return connection


def _notice_when_gone(transport: paramiko.Transport) -> None:
    """Have an open line from here break when nothing comes through it any more, also where nobody says so.

    Of a worker's, that is the part to the head; of the rest, the head's kernel knows after a quarter of an hour.
    """
    transport.set_keepalive(ALIVE_S)
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it; elsewhere the kernel's own time holds
    if option is not None and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, option, GONE_S * 1000)


@contextlib.contextmanager
def _opened(connection: Connection, what: str, outputs: Outputs, *, instance_id: str) -> Iterator[None]:
    """Open a connection, say what is in the way, and close it at the end."""
    try:
        connection.open()
        _notice_when_gone(connection.transport)
    except paramiko.BadHostKeyException:
        raise HostKeyError(
            f"The host key of {what} is not the one that the machine published in {outputs.bucket}. Either "
            "somebody else answers at its address, or its host keys were replaced by hand. Nothing was sent. If "
            "you replaced them, publish the new key on the machine: sudo systemctl restart "
            "sweepfleet-boot@publish-host-key"
        ) from None
    except paramiko.PasswordRequiredException:
        raise ClusterError(
            f"{_sentence(what)} needs this machine's SSH key, which has a passphrase and is not in the SSH "
            "agent. Add it: ssh-add KEY. The path of the key: inv doctor"
        ) from None
    except paramiko.AuthenticationException:
        raise ClusterError(
            f"{_sentence(what)} refuses the login as {outputs.ssh_user}: this machine has no private key for the "
            "stack's sshPublicKey. Which key: inv doctor"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        moved = " If your address has changed: inv allow-me." if instance_id == outputs.head_id else ""
        raise NotYetError(
            f"{_sentence(what)} does not answer on port {SSH_PORT} ({error}).{moved} Whether it is running: aws "
            f"ec2 describe-instance-status --instance-ids {instance_id}"
        ) from None
    try:
        yield
    finally:
        connection.close()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
