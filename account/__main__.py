"""What the pipeline needs, as Pulumi runs it."""

from sweepfleet.account.program import declare

declare()
