"""The cluster, as Pulumi runs it: settings in, parts made, outputs out."""

from __future__ import annotations

import pulumi

from infra.problems import SettingsError
from infra.program import declare

try:
    declare()
except SettingsError as error:
    raise pulumi.RunError(str(error)) from None  # the message is for the user; a traceback would bury it
