"""What moto leaves out of public addresses: an Elastic IP stays with a machine that is stopped, as AWS has it.

And a machine without an address can be given one: `AssociatePublicIpAddress` of ModifyNetworkInterfaceAttribute.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-instance-addressing.html
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces


def install() -> None:
    """Have moto do so. Once in a process is enough, and more do no harm."""
    interface: Any = NetworkInterface
    if hasattr(interface, "rehearsed_stop"):
        return
    interface.rehearsed_stop, interface.rehearsed_address = interface.stop, interface.check_auto_public_ip
    interface.stop, interface.check_auto_public_ip = _stop, _new_address
    answers: Any = ElasticNetworkInterfaces
    answers.rehearsed_modify = answers.modify_network_interface_attribute
    answers.modify_network_interface_attribute = _modify


def _has_elastic_ip(interface: Any) -> bool:
    return any(one.eni is interface for one in interface.ec2_backend.addresses)


def _stop(self: Any) -> None:
    if not _has_elastic_ip(self):
        self.rehearsed_stop()


def _new_address(self: Any) -> None:
    if not _has_elastic_ip(self):
        self.rehearsed_address()


def _modify(self: Any) -> ActionResult:
    asked = self._get_param("AssociatePublicIpAddress")
    if asked is not None:
        found = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
        found.public_ip_auto_assign = str(asked).lower() == "true"
        if not found.public_ip_auto_assign and not _has_elastic_ip(found):
            found.public_ip = None
        if found.instance is not None and found.instance.state == "running":
            found.check_auto_public_ip()
    result: ActionResult = self.rehearsed_modify()
    return result
