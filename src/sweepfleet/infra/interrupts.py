"""Ctrl-C in a program that Pulumi runs. To be imported before pulumi_aws, which takes seconds."""

import contextlib
import signal

# With SIGINT Pulumi ends the program when Ctrl-C has stopped the update: a traceback would bury what Pulumi says.
with contextlib.suppress(ValueError):  # not the main thread: not a program that Pulumi runs
    signal.signal(signal.SIGINT, signal.SIG_DFL)
