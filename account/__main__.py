"""What the pipeline needs, as Pulumi runs it."""

from __future__ import annotations

import pulumi

from sweepfleet.account.program import declare
from sweepfleet.infra.problems import SettingsError

try:
    declare()
except SettingsError as error:
    # The message is for the user; a traceback would bury it. Its commands are typed where the repository is.
    raise pulumi.RunError(str(error).replace("pulumi config", "pulumi -C account config")) from None
