"""A data volume that was made larger gives its room to the runs at once, while it is in use."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweepfleet.machine.head import volume
from sweepfleet.machine.head.volume import device_of, grow, size_of

MB = 1 << 20


@dataclass
class Loop:
    """A file, as a block device with a file system that is mounted."""

    file: Path
    device: str
    mount: Path

    def enlarge(self, size: int) -> None:
        """As EBS does it: the device is larger, and its file system as it was."""
        os.truncate(self.file, size)
        subprocess.run(["losetup", "--set-capacity", self.device], check=True)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    if os.geteuid() or not shutil.which("losetup") or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root, losetup and mkfs.ext4")
    file, mount = tmp_path / "volume", tmp_path / "mount"
    mount.mkdir()
    file.touch()
    os.truncate(file, 16 * MB)
    subprocess.run(["mkfs.ext4", "-q", str(file)], check=True)
    made = subprocess.run(["losetup", "--find", "--show", str(file)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        subprocess.run(["mount", device, str(mount)], check=True)
        try:
            yield Loop(file, device, mount)
        finally:
            subprocess.run(["umount", "-l", str(mount)], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def may_resize() -> bool:
    """Whether the kernel lets this process grow a mounted ext4: CAP_SYS_RESOURCE, which a container may lack."""
    [found] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")]
    return bool(int(found.split()[1], 16) >> 24 & 1)


@pytest.mark.skipif(not may_resize(), reason="needs CAP_SYS_RESOURCE, to grow a mounted file system")
def test_a_full_volume_that_was_enlarged_has_room_without_being_unmounted(loop: Loop) -> None:
    """What is on it stays, and a file that is open there goes on."""
    assert device_of(loop.mount) == loop.device
    before = grow(loop.mount, before=0)
    assert before == size_of(loop.device) == 16 * MB
    ballast = loop.mount / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            file.writelines(bytes(MB) for _ in range(64))
        assert grow(loop.mount, before=before) == before
        loop.enlarge(64 * MB)
        assert grow(loop.mount, before=before) == 64 * MB
        file.write(bytes(MB))
    assert shutil.disk_usage(loop.mount).total > 40 * MB


def test_the_file_system_is_grown_once_for_each_size_and_again_when_that_failed(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a `resize2fs` that notes what it is asked, and fails as long as it is told to."""
    asked, refuses = tmp_path / "asked", tmp_path / "refuses"
    (tmp_path / "bin").mkdir()
    resize = tmp_path / "bin" / "resize2fs"
    resize.write_text(f'#!/bin/sh\necho "$@" >> {asked}\nif test -e {refuses}; then echo busy >&2; exit 1; fi\n')
    resize.chmod(0o755)
    monkeypatch.setenv("PATH", str(resize.parent), prepend=os.pathsep)
    before = grow(loop.mount, before=0)
    assert grow(loop.mount, before=before) == before == 16 * MB
    assert asked.read_text().split() == [loop.device]
    loop.enlarge(64 * MB)
    refuses.touch()
    assert grow(loop.mount, before=before) == before
    assert "cannot be grown: busy" in capsys.readouterr().out
    refuses.unlink()
    assert grow(loop.mount, before=before) == 64 * MB
    assert asked.read_text().split() == [loop.device] * 3


def test_of_two_file_systems_at_one_place_the_one_that_is_seen_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "MOUNTS", tmp_path / "mounts")
    mounted = [("a", "/srv"), ("b", "/srv/deep"), ("c", "/srv"), ("d", "/srv/deep")]
    (tmp_path / "mounts").write_text("".join(f"/dev/{name} {place} ext4 rw 0 0\n" for name, place in mounted))
    assert device_of(Path("/srv")) == "/dev/c"
    assert device_of(Path("/other")) == ""


def test_a_volume_that_is_not_mounted_is_waited_for(tmp_path: Path) -> None:
    assert grow(tmp_path, before=0) == 0
