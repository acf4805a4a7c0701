"""A machine's console, as AWS keeps it: what is left to look at when a machine cannot be asked itself."""

from __future__ import annotations

import base64
import re

from botocore.exceptions import ClientError

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws

LINES = 15
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and cursor moves of a boot
NOISE = re.compile(r"^(<\d+>|-----|ssh-ed25519 |ci-info: |\s*$)|cloud-init: (#|-----|256 SHA256)")  # keys, tables


def last_lines(cloud: Cloud, instance_id: str) -> str:
    """The last lines of a machine's console that say something; a sentence when there are none or AWS refuses."""
    try:
        with asking_aws(f"read the console of {instance_id}"):
            text = _console(cloud, instance_id)
    except ClusterError as error:
        return str(error)
    lines = readable(text)
    if not lines:
        return f"The console of {instance_id} is still empty."
    return f"The last lines of the console of {instance_id}:\n" + "\n".join(lines)


def _console(cloud: Cloud, instance_id: str) -> str:
    ec2 = cloud.client("ec2")
    try:
        answer = ec2.get_console_output(InstanceId=instance_id, Latest=True)
    except ClientError as error:
        if error.response["Error"]["Code"] != "UnsupportedOperation":
            raise
        answer = ec2.get_console_output(InstanceId=instance_id)  # older than Nitro: as it was some minutes ago
    output = answer.get("Output", "")
    try:  # boto3 decodes it, as far as it is base64
        return base64.b64decode(output, validate=True).decode(errors="replace")
    except ValueError:
        return str(output)


def readable(console: str) -> list[str]:
    """The last lines of a console that a person wants to see; pure."""
    lines = [ESCAPES.sub("", line).replace("\r", "").rstrip() for line in console.splitlines()]
    return [line for line in lines if not NOISE.search(line)][-LINES:]
