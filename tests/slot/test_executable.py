"""Programs in the repository as targets: what can be started is, and what cannot is told before any point runs."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweepfleet.fleet.code.release import make_release
from sweepfleet.grid.errors import UsageError
from sweepfleet.slot import executable
from sweepfleet.slot.program import check

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs of Linux")
STATIC = """
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words) { printf("{\\"loss\\": %g}\\n", atof(words[1]) * 2); return 0; }
"""


def elf(machine: int, *, loader: str = "") -> bytes:
    """A program's head, of 64 bits: for a machine, static or with a loader."""
    count, text = (1, loader.encode() + b"\0") if loader else (0, b"")
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    entry = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(text), len(text), 1) if loader else b""
    return ident + header + entry + text


def put(folder: Path, content: bytes) -> Path:
    file = folder / "fit"
    file.write_bytes(content)
    file.chmod(0o755)
    return file


def refusal(file: Path, where: str = "the workers are") -> str:
    with pytest.raises(UsageError) as refused:
        check(["./fit"], cwd=str(file.parent), env=os.environ, where=where)
    return str(refused.value)


def test_a_program_for_another_machine_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "EMULATORS", tmp_path / "none")
    monkeypatch.setattr(executable.platform, "machine", lambda: "aarch64")
    file = put(tmp_path, elf(62))
    assert refusal(file) == f"command: {file} is built for x86_64, and the workers are arm64. Build it for arm64."
    monkeypatch.setattr(executable.platform, "machine", lambda: "x86_64")
    put(tmp_path, elf(183))
    assert "is built for arm64, and this machine is x86_64. Build it for x86_64." in refusal(file, "this machine is")
    for fitting in (elf(62), elf(3), elf(9999)):  # its own, one that it runs too, one that nobody knows
        put(tmp_path, fitting)
        check(["./fit"], cwd=str(tmp_path), env=os.environ)


def test_a_head_that_says_less_than_a_programs_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off, of 32 bits, or with a table that points out of what was read: the system may start it all the same."""
    monkeypatch.setattr(executable.platform, "machine", lambda: "x86_64")
    whole = elf(62, loader="/lib/ld-none.so.1")
    outside = bytearray(whole)
    struct.pack_into("<Q", outside, 64 + 8, executable.HEAD_BYTES)
    for head in (whole[:10], whole[:80], whole[:-4], whole[:4] + b"\x01" + whole[5:], bytes(outside)):
        assert executable.trouble(Path("fit"), head, where="this machine is") is None


def test_a_program_of_linux_is_refused_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "sys", SimpleNamespace(platform="darwin"))
    said = str(executable.trouble(Path("fit"), elf(62), where="this machine is"))
    assert said == "fit is built for Linux, and this machine is darwin. Build it for darwin."
    assert executable.trouble(Path("fit"), b"\xcf\xfa\xed\xfe", where="this machine is") is None


def test_a_file_of_a_kind_that_nobody_knows_is_left_to_the_system() -> None:
    """It may know how to run it: Java, .NET."""
    assert executable.trouble(Path("fit"), b"PK\x03\x04\0\0", where="this machine is") is None


def test_a_program_of_a_machine_with_the_other_byte_order_is_named() -> None:
    head = b"\x7fELF\x02\x02\x01" + bytes(9) + struct.pack(">HH", 2, 22)
    assert "is built for s390x" in str(executable.trouble(Path("fit"), head, where="this machine is"))


def test_a_program_of_another_machine_may_have_an_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "EMULATORS", tmp_path)
    monkeypatch.setattr(executable.platform, "machine", lambda: "x86_64")
    (tmp_path / "qemu-aarch64").touch()
    put(tmp_path, elf(183))
    check(["./fit"], cwd=str(tmp_path), env=os.environ)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"echo 1\n", "is a text file without a #! line. Add one as the first line, such as: #!/bin/sh"),
        (b"", "is a text file without a #! line"),
        (b"\xcf\xfa\xed\xfe" + bytes(60), "is built for macOS, and the workers are Linux on "),
        (b"#!/no/such/shell\n", "has the interpreter /no/such/shell in its first line"),
    ],
)
def test_what_the_system_cannot_start_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    file = put(tmp_path, content)
    assert said in refusal(file)


def test_a_program_with_a_loader_that_is_not_there_is_to_be_static(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executable.platform, "machine", lambda: "x86_64")
    file = put(tmp_path, elf(62, loader="/lib/ld-none.so.1"))
    assert f"{file} needs /lib/ld-none.so.1, which is not there" in refusal(file)
    put(tmp_path, elf(62, loader=sys.executable))
    check(["./fit"], cwd=str(tmp_path), env=os.environ)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_static_program_of_the_repository_runs_as_a_release_has_it(tmp_path: Path) -> None:
    """Compiled, tracked, packed as for a cluster, unpacked as by a machine, and computed with."""
    root = tmp_path / "project"
    (root / "bin").mkdir(parents=True)
    (root / "fit.c").write_text(STATIC)
    subprocess.run(["cc", "-static", "-o", root / "bin" / "fit", root / "fit.c"], check=True)
    (root / "requirements.txt").write_text("")
    (root / "grid.yaml").write_text("command: [./bin/fit, '{a}']\nparameters: {a: [1, 2]}\nmetric: {name: loss}\n")
    git = ["git", "-C", str(root), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "A program"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "release.tar.gz").write_bytes(make_release(root, dirty=False).data)
    there = tmp_path / "there"
    there.mkdir()
    unpack = ["tar", "-xzf", str(tmp_path / "release.tar.gz"), "-C", str(there), "--no-same-owner"]
    subprocess.run([*unpack, "--no-same-permissions"], check=True, umask=0o022)
    check(["./bin/fit"], cwd=str(there), env=os.environ)
    done = subprocess.run([there / "bin" / "fit", "21"], capture_output=True, text=True, check=True)
    assert done.stdout == '{"loss": 42}\n'
