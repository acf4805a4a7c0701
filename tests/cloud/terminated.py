"""What AWS refuses of a terminated instance, and moto lets pass; and what an instance lets go when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.responses.instances import InstanceResponse

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
NOT_STOPPABLE = ("IncorrectInstanceState", "This instance '{}' is not in a state from which it can be stopped.")
NOT_STARTABLE = ("IncorrectInstanceState", "The instance '{}' is not in a state from which it can be started.")
NOT_CHANGEABLE = ("IncorrectInstanceState", "The instance '{}' is not in a state in which it can be modified.")
NOT_RUNNING = ("IncorrectState", "Instance '{}' is not 'running'.")
NOT_VALID = ("InvalidInstanceID", "The instance '{}' is not in a valid state for this operation.")


def install() -> None:
    """Give moto these manners. Once in a process."""
    refusals: list[tuple[type, str, int, tuple[str, str]]] = [  # the place of the id among the call's arguments
        (InstanceBackend, "stop_instances", 0, NOT_STOPPABLE),
        (InstanceBackend, "start_instances", 0, NOT_STARTABLE),
        (EBSBackend, "attach_volume", 1, NOT_RUNNING),
    ]
    for owner, name, place, error in refusals:
        setattr(owner, name, _refusing(getattr(owner, name), place, error))
    changes: list[tuple[type, str, Callable[..., Any]]] = [
        # At the door: moto itself changes attributes of what it has just terminated.
        (InstanceResponse, "modify_instance_attribute", _changing(InstanceResponse.modify_instance_attribute)),
        (ElasticAddressBackend, "associate_address", _alive_only(ElasticAddressBackend.associate_address)),
        (Instance, "terminate", _letting_go(Instance.terminate)),
    ]
    for owner, name, change in changes:
        setattr(owner, name, change)


def _refusing(call: Callable[..., Any], place: int, error: tuple[str, str]) -> Callable[..., Any]:
    def refused(self: Any, *given: Any) -> Any:
        ids = [given[place]] if isinstance(given[place], str) else given[place]
        for id_ in ids:
            if self.get_instance(id_).state == "terminated":
                raise EC2ClientError(error[0], error[1].format(id_))
        return call(self, *given)

    return refused


def _changing(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def modify(self: Any) -> Any:
        id_ = self._get_param("InstanceId")
        if self.ec2_backend.get_instance(id_).state == "terminated":
            raise EC2ClientError(NOT_CHANGEABLE[0], NOT_CHANGEABLE[1].format(id_))
        return answer(self)

    return modify


def _alive_only(call: Callable[..., Any]) -> Callable[..., Any]:
    def associate(self: Any, instance: Any = None, **named: Any) -> Any:
        if instance is not None and instance.state == "terminated":
            raise EC2ClientError(NOT_VALID[0], NOT_VALID[1].format(instance.id))
        return call(self, instance, **named)

    return associate


def _letting_go(terminate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A terminated instance keeps no Elastic IP and no private address."""

    def terminated(self: Any) -> Any:
        previous = terminate(self)
        subnet = self.ec2_backend.get_subnet(self.subnet_id)
        while self._private_ips:
            subnet.del_subnet_ip(self._private_ips.pop())
        for address in self.ec2_backend.addresses:
            if address.instance is not None and address.instance.id == self.id:
                address.instance = address.eni = address.association_id = None
        return previous

    return terminated
