"""The cluster, as Pulumi runs it: settings in, parts made, outputs out."""

from __future__ import annotations

import signal

import pulumi

# With SIGINT Pulumi ends the program when Ctrl-C has stopped the update. Before pulumi_aws is imported, which takes
# seconds: a traceback would bury what Pulumi says.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from sweepfleet.infra.problems import SettingsError  # noqa: E402
from sweepfleet.infra.program import declare  # noqa: E402

try:
    declare()
except SettingsError as error:
    raise pulumi.RunError(str(error)) from None  # the message is for the user; a traceback would bury it
