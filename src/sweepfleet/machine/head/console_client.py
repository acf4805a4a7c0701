"""A terminal for the console's kernel: `console_client CONNECTION_FILE`, in Jupyter's environment.

jupyter-console cannot interrupt a kernel that it has not started, and gives up on one that computes for a minute;
this one asks the kernel itself, and waits.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from jupyter_console.app import ZMQTerminalIPythonApp

PATIENCE_S = 3.0
BUSY = "Python is running a command. The prompt comes when it has finished; Ctrl-C interrupts it."


class Console(ZMQTerminalIPythonApp):  # type: ignore[misc]
    """jupyter-console, whose Ctrl-C interrupts what the kernel runs."""

    shell: Any = None  # until the kernel has answered

    def init_shell(self) -> None:
        """Wait for the kernel, however long it computes."""
        timer = threading.Timer(PATIENCE_S, print, (BUSY,), {"flush": True})
        timer.start()
        try:
            super().init_shell()
        finally:
            timer.cancel()

    def handle_sigint(self, *_: Any) -> None:
        """Interrupt what runs; at the prompt, begin a new line."""
        if self.shell is not None and not self.shell._executing:  # noqa: SLF001 - as the base class does
            raise KeyboardInterrupt
        request = self.kernel_client.session.msg("interrupt_request", {})
        self.kernel_client.control_channel.send(request)


if __name__ == "__main__":
    _options = ["--no-confirm-exit", "--ZMQTerminalInteractiveShell.kernel_timeout=inf"]
    if not sys.stdin.isatty():
        _options.append("--simple-prompt")
    Console.launch_instance(["--existing", sys.argv[1], *_options])
