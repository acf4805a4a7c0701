"""The operator's private key for a stack: found by the public key that the stack was given, whatever its name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ANSWERS_S = 10


def key_body(public_key: str) -> str:
    """What tells a public key from others, without its kind and its comment; empty when there is none."""
    words = public_key.split()
    return words[1] if len(words) > 1 else ""


def private_key_of(public_key: str) -> Path | None:
    """Where `ssh-keygen` put the private key of a public one in ~/.ssh, whether or not it is there still."""
    body = key_body(public_key)
    for public in sorted(Path("~/.ssh").expanduser().glob("*.pub")) if body else ():
        if public.is_file() and key_body(public.read_text(errors="replace")) == body:
            return public.with_suffix("")
    return None


def keys_to_try(public_key: str) -> list[Path]:
    """The stack's own key first, then those of ssh's default names; only files that are there."""
    own = private_key_of(public_key)
    usual = [Path("~/.ssh", f"id_{kind}").expanduser() for kind in ("ed25519", "ecdsa", "rsa")]
    return [key for key in dict.fromkeys([*([own] if own else []), *usual]) if key.is_file()]


def has_passphrase(private_key: Path) -> bool:
    """Whether the file alone lets nobody in; False also when `ssh-keygen` is not there to say."""
    if shutil.which("ssh-keygen") is None:
        return False
    command = ["ssh-keygen", "-y", "-P", "", "-f", str(private_key)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=ANSWERS_S)
    return done.returncode != 0


def agent_keys() -> set[str]:
    """The keys that the SSH agent has, as `key_body` has them."""
    if not os.environ.get("SSH_AUTH_SOCK") or shutil.which("ssh-add") is None:
        return set()
    done = subprocess.run(["ssh-add", "-L"], capture_output=True, text=True, check=False, timeout=ANSWERS_S)
    return {key_body(line) for line in done.stdout.splitlines()} if done.returncode == 0 else set()
