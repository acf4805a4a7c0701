"""`.sweepfleet/<stack>/`: what this checkout remembers of a stack; all paths of it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.ssh_folder import removed_with_stack
from sweepfleet.infra.outputs import Outputs, OutputsError


@dataclass(frozen=True, slots=True)
class StackFolder:
    """One stack's folder. Nothing in it is the only copy: all of it can be asked for again."""

    root: Path  # of the checkout
    stack: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / ".sweepfleet" / self.stack

    @property
    def known_hosts(self) -> Path:
        """The host keys that the stack's machines published."""
        return self.path / "known_hosts"

    @property
    def outputs_file(self) -> Path:
        """The stack's outputs, as the last `inv up` left them."""
        return self.path / "outputs.json"

    @property
    def prices_file(self) -> Path:
        """What its machines cost, as AWS said lately."""
        return self.path / "prices.json"

    @property
    def head_prices_file(self) -> Path:
        """What its head costs, likewise."""
        return self.path / "head-prices.json"

    def outputs(self) -> Outputs | None:
        """The outputs, when they are here.

        Raises:
            ClusterError: the file is not what this version writes.
        """
        try:
            return Outputs.from_json(self.outputs_file.read_text())
        except FileNotFoundError:
            return None
        except (OutputsError, OSError, UnicodeDecodeError) as error:
            raise ClusterError(
                f"{self.outputs_file} cannot be used ({error}). "
                f"Fetch it again: inv outputs --refresh --stack {self.stack}"
            ) from None

    def keep(self, outputs: Outputs) -> None:
        """Write the outputs; the file appears whole."""
        self.path.mkdir(parents=True, exist_ok=True)
        beside = self.outputs_file.with_name(f".outputs.{os.getpid()}.json")
        beside.write_text(outputs.to_json())
        beside.replace(self.outputs_file)

    def forget(self) -> bool:
        """Remove what is remembered, the hosts for ssh too; whether there were such hosts."""
        self.outputs_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else is in it
            self.path.rmdir()
        return removed_with_stack(self.root, self.stack)


def stacks_up(root: Path) -> list[str]:
    """The stacks that this checkout remembers as up."""
    return sorted(path.parent.name for path in (root / ".sweepfleet").glob("*/outputs.json"))
