"""Exports a stack's outputs: exactly the fields of `Outputs`."""

from __future__ import annotations

from typing import Any

import pulumi

from sweepfleet.infra.boot_text import SSH_USER
from sweepfleet.infra.firewall import Firewall
from sweepfleet.infra.head import Head
from sweepfleet.infra.layout import SCHEDULER_PORT
from sweepfleet.infra.network import Network
from sweepfleet.infra.outputs import NAMES
from sweepfleet.infra.setup import Setup
from sweepfleet.infra.storage import Storage
from sweepfleet.infra.workers import Workers


def export(
    setup: Setup, network: Network, firewall: Firewall, storage: Storage, workers: Workers, head: Head
) -> None:
    """Export what the operator's commands read of a cluster."""
    settings = setup.settings
    export_all(
        stack=setup.stack,
        region=setup.region,
        endpoint_url=settings.endpoint_url,
        owner=settings.owner,
        vpc_id=network.vpc_id,
        head_id=head.instance_id,
        head_ip=head.public_ip,
        head_private_ip=setup.head_private_ip,
        head_identity=pulumi.Output.concat(head.role_id, ":", head.instance_id),
        ssh_user=SSH_USER,
        ssh_public_key=settings.ssh_public_key,
        head_security_group_id=firewall.head_group_id,
        scheduler_port=SCHEDULER_PORT,
        bucket=storage.bucket,
        worker_group=workers.group_name,
        on_demand_group=workers.on_demand_group_name,
        worker_role_id=workers.role_id,
        worker_zones=list(setup.placement.worker_zones),
        worker_instance_types=list(settings.worker_instance_types),
        max_workers=settings.max_workers,
        spot_percent=settings.spot_percent,
        on_demand_base=settings.on_demand_base,
        worker_egress=settings.worker_egress,
        head_instance_type=settings.head_instance_type,
        data_volume_id=head.data_volume_id,
        data_volume_gb=settings.data_volume_gb,
        image_id=setup.image.id,
        architecture=setup.architecture,
        package_index=settings.package_index,
        budget_usd=settings.budget_usd,
        worker_disk_gb=settings.worker_disk_gb,
        worker_peers="workers",
        head_address=settings.head_address,
        head_idle_stop=settings.head_idle_stop,
    )


def export_all(**values: Any) -> None:
    """Export every field of `Outputs`.

    Raises:
        TypeError: a field is missing, or a value is no field; readers would not find what is written.
    """
    wrong = set(values) ^ set(NAMES)
    if wrong:
        raise TypeError(f"outputs and Outputs differ in: {', '.join(sorted(wrong))}")
    for name in NAMES:
        pulumi.export(name, values[name])
