"""Nobody starts workers that nothing stops: AWS's own switch is set before their number is raised, for all groups."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.workers.group import set_size
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import Facts
from sweepfleet.machine.switch import SWITCH, date_of, switch_time
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto

pytest_plugins = ["tests.cloud.fixtures"]
REGION = "eu-west-1"
DATE = "Tue, 01 Jan 2041 10:00:00 GMT"  # by AWS's clock; nobody's here
AT = "2041-01-01T12:00:00"
SET, RAISE = "PutScheduledUpdateGroupAction", "SetDesiredCapacity"


class OtherClock(Cloud):
    """A cloud whose clock is another than this machine's, and which notes what is asked of it."""

    __slots__ = ("asked", "date")

    def note(self, model: Any, params: dict[str, Any], **_: Any) -> None:
        self.asked.append((model.name, params["body"]))

    def answer(self, parsed: dict[str, Any], **_: Any) -> None:
        headers = parsed["ResponseMetadata"]["HTTPHeaders"]
        headers.pop("date")
        if self.date:
            headers["date"] = self.date

    def client(self, service: str) -> Any:
        made = super().client(service)
        made.meta.events.register("before-call", self.note)
        made.meta.events.register("after-call", self.answer)
        return made


def cloud_of(moto: Moto, *, date: str = DATE) -> Any:
    cloud = OtherClock(REGION, endpoint_url=moto.endpoint)
    object.__setattr__(cloud, "asked", [])
    object.__setattr__(cloud, "date", date)
    return cloud


@pytest.fixture
def outputs(moto: Moto, no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return Outputs.from_json(json.dumps(up(Mocks(moto.endpoint), {"maxWorkers": 5})))


def size(moto: Moto, outputs: Outputs) -> int:
    groups = moto.client("autoscaling", REGION).describe_auto_scaling_groups(
        AutoScalingGroupNames=[outputs.worker_group]
    )
    return int(groups["AutoScalingGroups"][0]["DesiredCapacity"])


def changes(cloud: Any) -> list[str]:
    return [name for name, _ in cloud.asked if not name.startswith("Describe")]


def test_a_laptop_sets_the_switch_by_awss_clock_before_it_raises_the_number(moto: Moto, outputs: Outputs) -> None:
    """Whatever its own clock says; and each raise sets it anew."""
    cloud = cloud_of(moto)
    set_size(cloud, outputs, 2)
    assert changes(cloud) == [SET, SET, RAISE]
    client = moto.client("autoscaling", REGION)
    [action] = client.describe_scheduled_actions(AutoScalingGroupName=outputs.worker_group)[
        "ScheduledUpdateGroupActions"
    ]
    assert (action["AutoScalingGroupName"], action["ScheduledActionName"]) == (outputs.worker_group, SWITCH)
    assert (action["MinSize"], action["DesiredCapacity"]) == (0, 0)
    assert "MaxSize" not in action
    assert action["StartTime"].isoformat().startswith(AT)
    object.__setattr__(cloud, "date", DATE.replace("10:00", "11:00"))
    set_size(cloud, outputs, 3)
    for action in client.describe_scheduled_actions()["ScheduledUpdateGroupActions"]:
        assert action["StartTime"].isoformat().startswith(AT.replace("12:00", "13:00"))
    cloud.asked.clear()
    set_size(cloud, outputs, 0)
    assert changes(cloud) == [RAISE]


def test_the_switch_covers_every_group_of_workers(moto: Moto, outputs: Outputs) -> None:
    """Also while one of them is empty. Where one is gone, no worker is started."""
    cloud = cloud_of(moto)
    set_size(cloud, outputs, 1)
    assert len(outputs.worker_groups) == 2
    assert changes(cloud) == [SET, SET, RAISE]
    named = [body["AutoScalingGroupName"] for name, body in cloud.asked if name == SET]
    assert named == list(outputs.worker_groups)
    set_size(cloud, outputs, 0)
    moto.client("autoscaling", REGION).delete_auto_scaling_group(AutoScalingGroupName=outputs.on_demand_group)
    with pytest.raises(ClusterError, match=f"The group {outputs.on_demand_group} is gone"):
        set_size(cloud_of(moto), outputs, 1)
    assert size(moto, outputs) == 0


def test_a_stack_from_before_there_were_two_groups_has_its_one(moto: Moto, outputs: Outputs) -> None:
    cloud, old = cloud_of(moto), replace(outputs, on_demand_group="")
    set_size(cloud, old, 1)
    assert old.worker_groups == (outputs.worker_group,)
    assert changes(cloud) == [SET, RAISE]


@pytest.mark.parametrize("date", ["", "soon"])
def test_where_the_switch_cannot_be_set_no_worker_is_started(moto: Moto, outputs: Outputs, date: str) -> None:
    cloud = cloud_of(moto, date=date)
    with pytest.raises(ClusterError, match="AWS's time is unknown"):
        set_size(cloud, outputs, 2)
    assert changes(cloud) == []
    assert size(moto, outputs) == 0


# The head


AWS = """#!/bin/sh
echo "$@" >> "$ASKED"
"""


class Clock(BaseHTTPRequestHandler):
    """AWS, as far as it says what time it is."""

    date = DATE

    def do_HEAD(self) -> None:
        self.send_response_only(403)
        if self.date:
            self.send_header("Date", self.date)
        self.end_headers()


@contextlib.contextmanager
def clock(*, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Its address."""
    with HTTPServer(("127.0.0.1", 0), Clock) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def endpoint() -> Iterator[str]:
    with clock() as url:
        yield url


@pytest.fixture
def facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Facts:
    """Of a head whose `aws` notes what it is asked."""
    program = tmp_path / "bin" / "aws"
    program.parent.mkdir()
    program.write_text(AWS)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return Facts("head", "dev", "b", "AROA", "10.0.0.1", "", REGION, endpoint, str(tmp_path / "data"), "one two")


def test_the_head_sets_the_switch_of_every_group_by_awss_clock(facts: Facts, tmp_path: Path) -> None:
    Aws(facts).set_switch()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        f"--endpoint-url {facts.endpoint_url} autoscaling put-scheduled-update-group-action "
        f"--auto-scaling-group-name {group} --scheduled-action-name {SWITCH} --start-time {AT}Z --min-size 0 "
        "--desired-capacity 0"
        for group in ("one", "two")
    ]


def test_a_head_that_cannot_know_the_time_sets_nothing(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "date", "")
    with pytest.raises(AwsError, match="does not answer with its time"):
        Aws(facts).set_switch()
    monkeypatch.setattr(Clock, "date", DATE)
    with pytest.raises(AwsError, match="does not answer with its time"):
        Aws(replace(facts, endpoint_url="http://127.0.0.1:1")).set_switch()
    assert not (tmp_path / "asked").exists()
    with pytest.raises(ValueError, match="date"):
        switch_time("soon")


def test_awss_clock_is_read_over_tls_and_from_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS's own endpoints have it: a server whose certificate is not trusted tells no time."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
    subprocess.run([*words, "-out", str(certificate)], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with clock(tls=tls) as url:
        with pytest.raises(ssl.SSLError):
            date_of(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert date_of(url) == DATE
