"""What every machine of the cluster has in common."""

from __future__ import annotations

HTTP_ENDPOINT = "enabled"
HTTP_TOKENS = "required"  # IMDSv2: a request that somebody tricked a program into cannot fetch credentials
HOP_LIMIT = 1  # nor a container behind one more hop
VOLUME_TYPE = "gp3"
