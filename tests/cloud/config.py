"""A provider's configuration, as a program or a stack file gives it, into a connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi_aws

from tests.cloud import schema
from tests.cloud.aws import Aws
from tests.cloud.wire import plain

# Those that concern credentials and start-up checks change nothing here: there is one account, and it is open.
KNOWN = frozenset(
    {"region", "endpoints", "defaultTags", "profile", "accessKey", "secretKey", "token", "s3UsePathStyle",
     "skipCredentialsValidation", "skipMetadataApiCheck", "skipRegionValidation", "skipRequestingAccountId",
     "maxRetries", "retryMode", "allowedAccountIds"}
)  # fmt: skip
ENGINES_OWN = frozenset({"version", "pluginDownloadURL", "__internal"})


def decoded(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values and booleans arrive as JSON text: as themselves, and the engine's own keys left out."""
    types = schema.fields(pulumi_aws.ProviderArgs)
    values = {}
    for key, value in plain(dict(inputs)).items():
        if key in ENGINES_OWN:
            continue
        nested = isinstance(value, str) and types.get(key) is not str and key in types
        try:
            values[key] = json.loads(value) if nested else value
        except ValueError:
            values[key] = value  # an enum such as a region, or what `problems` will name
    return values


def problems(inputs: Mapping[str, Any]) -> list[schema.Problem]:
    values = decoded(inputs)
    unsupported = [
        (key, f"the stand-in provider does not know the setting {key!r}") for key in values if key not in KNOWN
    ]
    return unsupported or list(schema.object_problems(values, pulumi_aws.ProviderArgs))


def connection(inputs: Mapping[str, Any], *, endpoint: str, region: str | None = None) -> Aws:
    """The connection that a configuration describes; ValueError names what it does not know or what is missing."""
    if found := problems(inputs):
        raise ValueError("; ".join(f"aws:{key}: {reason}" for key, reason in found))
    values = decoded(inputs)
    region = values.get("region", region)
    if not region:
        raise ValueError("aws:region: the provider needs a region: pulumi config set aws:region us-east-1")
    return Aws(
        region=region,
        endpoint=endpoint,
        endpoints={service: url for each in values.get("endpoints", []) for service, url in each.items()},
        default_tags=values.get("defaultTags", {}).get("tags", {}),
    )
