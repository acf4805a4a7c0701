"""~/.ssh/sweepfleet/: files of our own for ssh, which the user's configuration includes. All of their paths."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.reach import ssh_config
from sweepfleet.grid.errors import UsageError


@dataclass(frozen=True, slots=True)
class SshFolder:
    """~/.ssh of a user: all paths of it that are ours or that we touch."""

    path: Path

    @classmethod
    def own(cls) -> SshFolder:
        """This user's, where the other commands look for keys."""
        return cls(Path("~/.ssh").expanduser())

    @property
    def config(self) -> Path:
        """The user's own configuration."""
        return self.path / "config"

    @property
    def ours(self) -> Path:
        """The folder of all that is ours."""
        return self.path / "sweepfleet"

    @property
    def pattern(self) -> str:
        """What the user's configuration includes."""
        return "~/.ssh/sweepfleet/*.conf" if self.is_ssh_s_own else f"{self.ours}/*.conf"

    @property
    def is_ssh_s_own(self) -> bool:
        """Whether ssh reads this folder by itself: that of the account, whatever $HOME says."""
        return self.path == Path(pwd.getpwuid(os.getuid()).pw_dir, ".ssh")

    def block(self, stack: str) -> Path:
        """A stack's hosts."""
        return self.ours / f"{stack}.conf"

    def known_hosts(self, stack: str) -> Path:
        """The host key that its head published."""
        return self.ours / f"{stack}.known_hosts"

    def workers_known_hosts(self, stack: str) -> Path:
        """Those of its workers that somebody has connected to."""
        return self.ours / f"{stack}.workers"

    def blocks(self) -> dict[str, ssh_config.Written]:
        """All stacks that have a block, and whose each is."""
        found = {}
        for file in sorted(self.ours.glob("*.conf")):
            whose = ssh_config.written(file.read_text(errors="replace"))
            if whose is not None:
                found[whose.stack] = whose
        return found


def remove(folder: SshFolder, stack: str) -> bool:
    """Remove a stack's hosts, and with the last of them what the user's configuration includes; whether it had any.

    Raises:
        UsageError: the user's configuration cannot be changed; what it includes is empty then.
    """
    if not folder.block(stack).exists():
        return False
    with locked(folder):
        for file in (folder.block(stack), folder.known_hosts(stack), folder.workers_known_hosts(stack)):
            file.unlink(missing_ok=True)
        if not folder.blocks():
            with contextlib.suppress(OSError):  # something else is in it
                folder.ours.rmdir()
            change(folder, ssh_config.without_include)
    return True


def removed_with_stack(root: Path, stack: str) -> bool:
    """Remove the hosts of a stack of this checkout, which is no longer up; whether it had any."""
    folder = SshFolder.own()
    whose = folder.blocks().get(stack)
    if whose is None or whose.root != root.resolve():
        return False
    with contextlib.suppress(UsageError):  # the line that stays includes nothing
        remove(folder, stack)
    return True


def add_worker(folder: SshFolder, stack: str, name: str, key: str) -> None:
    """Have ssh know the host key of a worker by a name, instead of any that this name had before."""
    with locked(folder):
        file = folder.workers_known_hosts(stack)
        others = [line for line in read(file).decode().splitlines(keepends=True) if line.split(" ")[0] != name]
        write_whole(file, "".join([*others, f"{name} {key}\n"]).encode())


def user_hosts(folder: SshFolder, file: Path, seen: set[Path]) -> Iterator[tuple[Path, int, str]]:
    """The hosts of the user's own configuration and of what it includes; ours are not among them."""
    if file in seen or file.parent == folder.ours or not os.access(file, os.R_OK) or not file.is_file():
        return
    seen.add(file)
    for line, keyword, values in ssh_config.directives(read(file).decode(errors="replace")):
        if keyword == "host":
            yield from ((file, line, name) for name in values)
        for pattern in values if keyword == "include" else ():
            for included in sorted(glob.glob(str(folder.path / os.path.expanduser(pattern)))):  # noqa: PTH111, PTH207
                yield from user_hosts(folder, Path(included), seen)


def change(folder: SshFolder, do: Callable[[bytes, str], bytes]) -> None:
    """Change what the user's configuration includes; nothing else of it, and not its mode.

    Raises:
        UsageError: it cannot be written.
    """
    before = read(folder.config)
    after = do(before, folder.pattern)
    if after == before:
        return
    try:
        target = folder.config.resolve()  # the file itself, where the user keeps it elsewhere
        if after or not target.exists():
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
            write_whole(target, after, mode=mode)
        elif folder.config.is_symlink():
            write_whole(target, after, mode=stat.S_IMODE(target.stat().st_mode))
        else:
            target.unlink()  # it had nothing but our line
    except OSError as error:
        what = "Add this line above its first Host" if len(after) > len(before) else "Remove this line from it"
        raise UsageError(
            f"{folder.config} cannot be changed ({error.strerror}). {what}: Include {folder.pattern}"
        ) from None


@contextlib.contextmanager
def locked(folder: SshFolder) -> Iterator[None]:
    """One command at a time changes the files."""
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder.path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.ours.mkdir(mode=0o700, exist_ok=True)
        yield
    finally:
        os.close(lock)


def write_whole(file: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file that appears whole, with its mode."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def read(file: Path) -> bytes:
    """A file's content; empty where there is none."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
