"""moto, served in this process, with what it lacks put in: Debian's images, public addresses, groups' manners."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # thirteen hundred images, and none is Debian's

from moto.backends import get_backend
from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.instances import Instance
from moto.ec2.responses.general import General
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import FakeKey
from werkzeug.serving import make_server

from tests.cloud import cpu_credits, public_addresses
from tests.cloud.aws import ACCOUNT
from tests.cloud.moto import REGIONS, make_boundary, publish_debian
from tests.cloud.rehearsal import group
from tests.cloud.rehearsal.network import PUBLIC

PORT = 5000
KEPT = "_kept_value"
CONSOLE_CHARACTERS = 64 * 1024  # as AWS keeps it
Application = Callable[..., Any]


def application(console: Callable[[str], str]) -> Application:
    """moto as a WSGI application, furnished. Once in a process. `console` has an instance's console output."""
    group.install()
    cpu_credits.install()
    public_addresses.install()
    addresses = (f"{PUBLIC}{number}" for number in itertools.cycle(range(1, 255)))
    changes: list[tuple[Any, str, Any]] = [
        (elastic_ip_addresses, "random_ip", lambda: next(addresses)),
        (elastic_network_interfaces, "random_public_ip", lambda: next(addresses)),
        (General, "get_console_output", _console_output(console)),
        (Instance, "reboots", 0),
        (Instance, "reboot", _reboot),
        (Instance, "stops", 0),
        (Instance, "stop", _counting(Instance.stop)),
        (FakeKey, "value", _read_once(FakeKey.value)),
    ]
    for owner, name, change in changes:
        setattr(owner, name, change)
    make_boundary()
    for region in REGIONS:
        publish_debian(region)
    return DomainDispatcherApplication(create_backend_app)


def _read_once(value: Any) -> property:
    """What an object in a bucket holds, kept in memory once read; `value` is moto's property.

    moto reads all of it for each range that is asked for, one reader at a time: thirty machines that fetch the same
    archive in parts would wait for one another, which they do not at S3.
    """

    def read(key: Any) -> Any:
        held = vars(key)
        if KEPT not in held:
            held[KEPT] = value.fget(key)
        return held[KEPT]

    def write(key: Any, new: Any) -> None:
        vars(key).pop(KEPT, None)
        value.fset(key, new)

    return property(read, write)


def serve(app: Application, address: str) -> None:
    """Answer at `address` in the background."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(address, PORT, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, name="moto", daemon=True).start()


def ec2_backends() -> Iterator[Any]:
    """EC2 in every region."""
    return (get_backend("ec2")[ACCOUNT][region] for region in REGIONS)


def autoscaling(region: str) -> Any:
    """The region's autoscaling."""
    return get_backend("autoscaling")[ACCOUNT][region]


def instances() -> list[Any]:
    """Every instance that has ever been, terminated ones too."""
    return [each for ec2 in ec2_backends() for each in ec2.all_instances()]


def instance(instance_id: str) -> Any:
    """One of them; LookupError when there is none."""
    for each in instances():
        if each.id == instance_id:
            return each
    raise LookupError(f"there is no instance {instance_id}")


def terminate(one: Any) -> None:
    """As the API does it: its group hears of it and replaces it."""
    one.ec2_backend.terminate_instances([one.id])
    autoscaling(one.region_name).notify_terminate_instances([one.id])


def _reboot(self: Any) -> None:
    self.reboots += 1


def _counting(stop: Callable[..., Any]) -> Callable[..., Any]:
    """Count an instance's stops: moto has stopped it at once, and it may be started before anybody looks."""

    def stopped(self: Any, *words: Any, **options: Any) -> Any:
        self.stops += 1
        return stop(self, *words, **options)

    return stopped


def _console_output(console: Callable[[str], str]) -> Callable[[Any], ActionResult]:
    def get_console_output(self: Any) -> ActionResult:
        name = self.ec2_backend.get_instance(self._get_param("InstanceId")).id
        output = Base64EncodedString.from_raw_string(console(name)[-CONSOLE_CHARACTERS:])
        return ActionResult({"InstanceId": name, "Timestamp": utcnow(), "Output": output})

    return get_console_output
