"""`inv allow-me`: the operator's SSH rule, when their address has changed."""

from __future__ import annotations

import json
from collections.abc import Callable

from sweepfleet.fleet.errors import NothingToDo
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.own_address import own_cidr
from sweepfleet.fleet.stack.pulumi_cli import settings_of
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.grid.errors import UsageError


def allow_me(stack: Stack, *, replace: str, address_url: str, yes: bool, say: Callable[[str], None]) -> None:
    """Let this machine's address in, in the place of another; Pulumi shows the change and asks.

    Args:
        stack: whose head.
        replace: the network in sshCidrs that goes; empty when there is but one.
        address_url: answers with the caller's address.
        yes: do not ask.
        say: tells the user something.

    Raises:
        NothingToDo: the address is let in already.
        UsageError: there are several networks, and it was not said which one goes.
    """
    stacks.require_stack(stack.pulumi, stack.full_name)
    now = json.loads(settings_of(stack.pulumi.config(stack.full_name)).get("sshCidrs", "[]"))
    mine = own_cidr(address_url)
    if mine in now:
        raise NothingToDo(f"The address {mine} may reach the head already.")
    if not replace and len(now) > 1:
        raise UsageError(
            f"sshCidrs has {', '.join(now)}. Replace one: inv allow-me --replace {now[0]}. Or keep all: inv "
            "allow-me --replace none"
        )
    if replace and replace != "none" and replace not in now:
        raise UsageError(
            f"{replace} is not in sshCidrs, which has {', '.join(now) or 'no network'}. Use one of "
            "them with --replace, or `none`."
        )
    place = len(now) if replace == "none" or not now else now.index(replace or now[0])
    stack.pulumi.set_config(stack.full_name, f"sshCidrs[{place}]", mine)
    say(f"Set sshCidrs[{place}] to {mine}, this machine's address.")
    stack.up(yes=yes, address_url=address_url)
