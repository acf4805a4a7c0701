"""The way to the head: SSH to a host key that the machine itself published with its role. The one home of fabric.

Fabric accepts whatever key a host shows; here a key that is not the published one stops everything.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from fabric import Config, Connection
from invoke.exceptions import CommandTimedOut, UnexpectedExit

from fleet.cloud import Cloud, told
from fleet.errors import ClusterError
from infra.layout import SSH_PORT, BucketLayout
from infra.outputs import Outputs

CONNECT_S = 15
COMMAND_S = 1800  # an environment that is built for the first time


class HostKeyError(ClusterError):
    """The host's key is not the one that it published."""


class NotYetError(ClusterError):
    """The machine has not published its key, or does not answer: a new one does so in a minute or two."""


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
        self, *words: str, sudo: bool = False, deadline_s: int | None = 120, shown: bool = False, pty: bool = False
    ) -> Answer:
        """Run a command to its end; `shown` lets its output through as it comes.

        Raises:
            ClusterError: it did not end in time, or the connection broke.
        """
        command = shlex.join(["sudo", "-n", *words] if sudo else words)
        try:
            done = self._connection.run(
                command, hide=not shown, warn=True, pty=pty, timeout=deadline_s, in_stream=None if pty else False
            )
        except CommandTimedOut:
            raise ClusterError(f"[{self.name}] `{command[:80]}` did not end in {deadline_s} s") from None
        except (UnexpectedExit, OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"[{self.name}] the connection broke: {error}") from None
        return Answer(done.stdout, done.stderr, done.exited)

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
            raise ClusterError(f"[{self.name}] the connection broke: {error or 'nothing was heard'}") from None

    def put(self, file: Path, remote: str) -> None:
        """Copy a file there; it appears whole."""
        try:
            sftp = self._connection.sftp()  # one for the connection's whole life, which closes it
            sftp.put(str(file), f"{remote}.part")
            sftp.posix_rename(f"{remote}.part", remote)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"[{self.name}] {file.name} could not be copied there: {error}") from None

    def write(self, text: str, remote: str) -> None:
        """Write a text file there."""
        try:
            with self._connection.sftp().open(remote, "w") as file:
                file.write(text)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"[{self.name}] {remote} could not be written: {error}") from None

    @contextlib.contextmanager
    def forwarded(self, local_port: int, remote_port: int) -> Iterator[None]:
        """A port of this machine's loopback that leads to one of the machine's."""
        with self._connection.forward_local(local_port, remote_port, remote_host="127.0.0.1"):
            yield


def published_key(cloud: Cloud, outputs: Outputs, identity: str) -> str:
    """The host key that a machine published: type and key, as known_hosts has them.

    Raises:
        NotYetError: it has published none.
    """
    s3 = cloud.client("s3")
    key = BucketLayout().host_key(identity)
    with told("read the machine's host key"):
        try:
            text = s3.get_object(Bucket=outputs.bucket, Key=key)["Body"].read().decode()
        except s3.exceptions.NoSuchKey:
            raise NotYetError(
                f"The machine {identity.rpartition(':')[2]} has not published its host key yet. A new machine does "
                "it within a minute or two of its start; if it does not, its boot failed: look at its console with "
                f"`aws ec2 get-console-output --latest --instance-id {identity.rpartition(':')[2]}`"
            ) from None
    return " ".join(text.split()[:2])


@contextlib.contextmanager
def head(cloud: Cloud, outputs: Outputs, *, known_hosts: Path) -> Iterator[Host]:
    """Open a connection to the head, for as long as the block lasts.

    Side effect: writes the published host key to `known_hosts`.

    Raises:
        HostKeyError: the head's key is not the published one.
        NotYetError: nothing answers; says what to look at.
        ClusterError: nobody is let in.
    """
    key = published_key(cloud, outputs, outputs.head_identity)
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    known_hosts.write_text(f"{outputs.head_ip} {key}\n")
    connection = _connection(outputs.head_ip, outputs.ssh_user, known_hosts)
    with _opened(connection, f"the head at {outputs.head_ip}", outputs):
        yield Host(connection, "head")


@contextlib.contextmanager
def worker(cloud: Cloud, outputs: Outputs, *, instance_id: str, address: str, known_hosts: Path) -> Iterator[Host]:
    """Open a connection to a worker through the head; both keys are the published ones."""
    keys = {
        outputs.head_ip: published_key(cloud, outputs, outputs.head_identity),
        address: published_key(cloud, outputs, f"{outputs.worker_role_id}:{instance_id}"),
    }
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    known_hosts.write_text("".join(f"{host} {key}\n" for host, key in keys.items()))
    gateway = _connection(outputs.head_ip, outputs.ssh_user, known_hosts)
    with _opened(gateway, f"the head at {outputs.head_ip}", outputs):
        connection = _connection(address, outputs.ssh_user, known_hosts, gateway=gateway)
        with _opened(connection, f"the worker {instance_id}", outputs):
            yield Host(connection, instance_id)


def _connection(address: str, user: str, known_hosts: Path, *, gateway: Connection | None = None) -> Connection:
    """A connection that is not open yet: nothing of the user's ssh configuration, no agent forwarding."""
    connection = Connection(
        address,
        user=user,
        port=SSH_PORT,
        config=Config(overrides={"load_ssh_configs": False}),
        gateway=gateway,
        forward_agent=False,
        connect_timeout=CONNECT_S,
        connect_kwargs={"banner_timeout": CONNECT_S, "auth_timeout": CONNECT_S},
    )
    client = connection.client
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.load_host_keys(str(known_hosts))
    return connection


@contextlib.contextmanager
def _opened(connection: Connection, what: str, outputs: Outputs) -> Iterator[None]:
    """Open a connection, say what is in the way, and close it at the end."""
    try:
        connection.open()
    except paramiko.BadHostKeyException:
        raise HostKeyError(
            f"The host key of {what} is not the one that the machine published in {outputs.bucket}. Either somebody "
            "else answers at its address, or its keys were made anew by hand. Nothing was sent. If you know why, "
            "publish the new key on the machine: sudo systemctl restart sweepfleet-boot@publish-host-key"
        ) from None
    except paramiko.AuthenticationException:
        raise ClusterError(
            f"{what} does not let you in as {outputs.ssh_user}: this machine has no private key for the stack's "
            "sshPublicKey. inv doctor says which"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise NotYetError(
            f"{what} does not answer on port {SSH_PORT} ({error}). If your address has changed: inv allow-me. If the "
            f"head is off: aws ec2 describe-instance-status --instance-ids {outputs.head_id}"
        ) from None
    try:
        yield
    finally:
        connection.close()
