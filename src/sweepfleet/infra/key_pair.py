"""The key pair: the operator's public key, which machines take."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.setup import Setup


class KeyPair(pulumi.ComponentResource):
    """The public half; the private one stays where it is."""

    key_name: pulumi.Output[str]

    def __init__(self, setup: Setup) -> None:
        """Declare it."""
        name = setup.name
        super().__init__("sweepfleet:infra:KeyPair", name, None, setup.opts)
        key = aws.ec2.KeyPair(
            f"{name}-key",
            public_key=setup.settings.ssh_public_key,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.key_name = key.key_name
        self.register_outputs({})
