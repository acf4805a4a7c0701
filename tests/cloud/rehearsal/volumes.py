"""EBS volumes: a sparse file for each, served as a loop device while the volume is attached."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

# https://github.com/torvalds/linux/blob/master/include/uapi/linux/loop.h
LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LOOP_SET_CAPACITY = 0x4C07
LOOP_MAJOR = 7
LO_FLAGS_AUTOCLEAR = 4  # the kernel lets go of the file when nobody has the device open any more
CONFIG_BYTES, INFO_OFFSET, FLAGS_OFFSET = 304, 8, 52  # struct loop_config, its loop_info64, and lo_flags in that
TRIES = 20  # another program may take the free device first
BY_ID = "nvme-Amazon_Elastic_Block_Store_{serial}"  # as udev names it from the volume's serial


@dataclass
class Volume:
    """One volume's contents, and the device that shows them while there is one."""

    id: str
    file: Path
    size_gb: int
    _descriptor: int = -1
    number: int = -1

    @property
    def link_name(self) -> str:
        """Its name under /dev/disk/by-id in a machine."""
        return BY_ID.format(serial=self.id.replace("-", ""))

    def open(self) -> bool:
        """Have a device of the volume's present size; False while a machine that had it lets go of it still."""
        if not self.file.exists():
            self.file.touch()
        if self.file.stat().st_size < self.size_gb << 30:
            os.truncate(self.file, self.size_gb << 30)
            if self._descriptor >= 0:
                fcntl.ioctl(self._descriptor, LOOP_SET_CAPACITY)
        if self._descriptor < 0:
            if self._bound():  # two devices over one file would each have a cache of its own
                return False
            self._descriptor, self.number = _loop(self.file)
        return True

    def close(self) -> None:
        """The device goes once no machine has it mounted."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _bound(self) -> bool:
        backing = Path(f"/sys/block/loop{self.number}/loop/backing_file")
        try:
            return backing.read_text().strip() == str(self.file)
        except OSError:
            return False


def put_device(dev: Path, name: str, volume: Volume) -> None:
    """Show an open volume in a machine's /dev, under its kernel's name and its id."""
    node = dev / name
    if not node.exists():
        os.mknod(node, stat.S_IFBLK | 0o660, os.makedev(LOOP_MAJOR, volume.number))
    link = dev / "disk/by-id" / volume.link_name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(f"../../{name}")


def take_device(dev: Path, name: str, volume: Volume) -> None:
    """Undo `put_device`."""
    (dev / "disk/by-id" / volume.link_name).unlink(missing_ok=True)
    (dev / name).unlink(missing_ok=True)


def _loop(file: Path) -> tuple[int, int]:
    with file.open("r+b") as backing:
        for last in reversed(range(TRIES)):
            with Path("/dev/loop-control").open("r+b", buffering=0) as control:
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            device = _device(file, number)
            config = bytearray(CONFIG_BYTES)
            struct.pack_into("=I", config, 0, backing.fileno())
            struct.pack_into("=I", config, INFO_OFFSET + FLAGS_OFFSET, LO_FLAGS_AUTOCLEAR)
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, config)
            except OSError:
                os.close(device)
                if not last:
                    raise
            else:
                return device, number
    raise AssertionError("unreachable")


def _device(file: Path, number: int) -> int:
    """Open a loop device by its number: a container's /dev need not have its node."""
    node = file.with_suffix(".device")
    node.unlink(missing_ok=True)
    os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(LOOP_MAJOR, number))
    try:
        return os.open(node, os.O_RDWR | os.O_CLOEXEC)
    finally:
        node.unlink()
