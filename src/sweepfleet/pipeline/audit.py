"""What an issue says of what a stack has left behind in its account."""

from __future__ import annotations

from datetime import datetime

from sweepfleet.fleet.stack.audit import Audit
from sweepfleet.pipeline.markdown import table, text
from sweepfleet.run.text import about_dollars, dollars

ROWS = 50


def audit_part(found: Audit, now: datetime) -> str:
    """The leaks of a stack; Markdown."""
    rows = [
        [one.kind, text(one.id), one.age(now), "" if one.usd_month is None else dollars(one.usd_month)]
        for one in found.leaks
    ]
    commands = [f"    {' '.join(one.remedy.split())}" for one in found.leaks]
    more = [f"and {len(rows) - ROWS:,} more: `inv audit`", ""] if len(rows) > ROWS else []
    first = (
        f"These resources have the tag of the stack {text(found.stack)} in {text(found.region)}. They are not in "
        "its state, and not part of anything that is:"
    )
    last = (
        f"Together they cost {about_dollars(found.usd_month)} USD a month, as far as prices are known. An "
        "interrupted `inv up` or a person may have created them. Check what they contain, then remove them from "
        "a laptop:"
    )
    head = table(("What", "Id", "Age", "USD a month"), rows[:ROWS], right=(3,))
    end = "This issue closes itself when none is left."
    return "\n".join([first, "", *head, "", *more, last, "", *commands[:ROWS], "", end]) + "\n"
