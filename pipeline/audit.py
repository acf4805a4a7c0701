"""What an issue says of what a stack has left behind in its account."""

from __future__ import annotations

from datetime import datetime

from fleet.audit import Audit
from pipeline.markdown import table, text
from sweep.text import about_dollars, dollars

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
        f"These carry the tag of the stack {text(found.stack)} in {text(found.region)}, are not in its state, and "
        "belong to nothing that is:"
    )
    last = (
        f"Together {about_dollars(found.usd_month)} USD a month, as far as that is known. An `inv up` that broke "
        "off may have made them, or somebody by hand. Look at what they hold; then, from a laptop:"
    )
    head = table(("What", "Id", "Age", "USD a month"), rows[:ROWS], right=(3,))
    end = "This issue is closed by itself when there are none any more."
    return "\n".join([first, "", *head, "", *more, last, "", *commands[:ROWS], "", end]) + "\n"
