"""Whether the system can start a file: the machine that a program is built for, and its loader or interpreter."""

from __future__ import annotations

import contextlib
import os
import platform
import struct
import sys
from pathlib import Path

# ELF's e_machine: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html and its registry.
ELF_MACHINES = {3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "arm64", 243: "riscv64"}
SAME = {"aarch64": "arm64", "amd64": "x86_64", "i686": "i386", "ppc64le": "ppc64"}
RUNS_TOO = {("i386", "x86_64"), ("arm", "arm64")}  # most systems run these as they are
MACH_O = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
HEAD_BYTES = 4096
PT_INTERP = 3
EMULATORS = Path("/proc/sys/fs/binfmt_misc")  # programs of other machines may be run by one


def trouble(file: Path, head: bytes, *, where: str) -> str | None:
    """Why the system cannot start an executable file, and what to do; None when it can, as far as can be seen.

    Args:
        file: its path.
        head: its first `HEAD_BYTES` bytes.
        where: who runs it: "this machine is", "the workers are".
    """
    here = machine()
    if head.startswith(b"\x7fELF"):
        if sys.platform != "linux":
            return f"{file} is built for Linux, and {where} {sys.platform}. Build it for {sys.platform}."
        kind = _elf_machine(head)
        if kind is not None and kind != here and (kind, here) not in RUNS_TOO and not _emulated(kind):
            return f"{file} is built for {kind}, and {where} {here}. Build it for {here}."
        loader = _loader(head)
        if loader is not None and not Path(loader).exists():
            return (
                f"{file} needs {loader}, which is not there: it is linked against another system's C library. "
                "Link it statically."
            )
        return None
    if head.startswith(MACH_O):
        return None if sys.platform == "darwin" else f"{file} is built for macOS, and {where} Linux on {here}."
    if not head.startswith(b"#!") and b"\0" not in head:
        return f"{file} is a text file without a #! line. Add one as the first line, such as: #!/bin/sh"
    return None


def machine() -> str:
    """The architecture of this machine, as instance types and compilers name it."""
    name = platform.machine().lower()
    return SAME.get(name, name)


def _elf_machine(head: bytes) -> str | None:
    order = ">" if head[5:6] == b"\x02" else "<"
    with contextlib.suppress(struct.error):
        return ELF_MACHINES.get(struct.unpack_from(f"{order}H", head, 18)[0])
    return None


def _loader(head: bytes) -> str | None:
    """The loader of a dynamically linked program; None of a static one, and where it cannot be seen."""
    if head[4:6] != b"\x02\x01":  # 64 bits, little-endian: all machines that sweepfleet starts
        return None
    with contextlib.suppress(struct.error, IndexError):
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        for number in range(count):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", head, table + number * size)
            if kind == PT_INTERP and offset + length <= len(head):
                return os.fsdecode(head[offset : offset + length].rstrip(b"\0"))
    return None


def _emulated(kind: str) -> bool:
    """Whether the system runs programs of another machine by an emulator."""
    names = {kind, *(name for name, same in SAME.items() if same == kind)}
    return any((EMULATORS / f"qemu-{name}").exists() for name in names)
