"""What a pull request is told of its stack, and an issue of its drift: whole texts, held by golden files.

After a change that is meant: `UPDATE_GOLDEN=1 uv run pytest tests/pipeline/test_comment.py`, and read the difference.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sweepfleet.fleet.money.prices import TABLE_SOURCE, Prices
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.infra.layout import IDLE_STOP_TAG
from sweepfleet.infra.settings import Settings
from sweepfleet.pipeline import money as moneys
from sweepfleet.pipeline.comment import Review, drift_part, joined, stack_part
from sweepfleet.pipeline.drift import Drift, Stranger
from sweepfleet.pipeline.money import Money, money
from sweepfleet.pipeline.plan import Plan, parse
from sweepfleet.pipeline.policy import check
from tests.plans import UNKNOWN, preview, step

GOLDEN = Path(__file__).parents[1] / "golden"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = "x|y <!-- sweepfleet:preview:dev --> @everyone [a](http://b) `c` </details> #1\n| --- |"
INSTANCE = "aws:ec2/instance:Instance"
VOLUME = "aws:ebs/volume:Volume"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
NAT = "aws:ec2/natGateway:NatGateway"
EIP = "aws:ec2/eip:Eip"
GROUP = "aws:autoscaling/group:Group"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
MACHINE = {
    "instanceType": "t3.medium",
    "rootBlockDevice": {"encrypted": True, "volumeSize": 20, "volumeType": "gp3"},
    "metadataOptions": {"httpTokens": "required"},
}
DATA = {"size": 50, "type": "gp3", "encrypted": True}
SETTINGS = Settings(ssh_cidrs=("203.0.113.7/32",), ssh_public_key="ssh-ed25519 A", owner="ada")


def golden(name: str, text: str) -> None:
    """Compare with a golden file; `UPDATE_GOLDEN` writes it."""
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices of a day, whoever asks."""
    on_demand = {"t3.medium": 0.0416, **dict.fromkeys(SETTINGS.worker_instance_types, 0.2)}
    known = Prices(on_demand, {"c7i.xlarge": 0.08}, (TABLE_SOURCE,), "2026-11-24")
    monkeypatch.setattr(moneys, "prices", lambda *_, **__: known)


def cost(plan: Plan, settings: Settings = SETTINGS) -> Money:
    return money(plan, settings, Cloud("us-east-1"), cache=Path("unused"))


def as_it_is(op: str = "same", **more: str) -> list[dict[str, object]]:
    """The parts of a stack that cost at rest, and one that does not."""
    both = ("old", "new") if op == "same" else ("new",)
    return [
        step(op, kind, name=name, **dict.fromkeys(both, inputs))
        for kind, name, inputs in [
            (INSTANCE, "head", MACHINE),
            (VOLUME, "data", DATA),
            (EIP, "head", {}),
            (GROUP, "workers", {"minSize": 0}),
            (ENDPOINT, "s3", {"vpcEndpointType": "Gateway"}),
            ("aws:s3/bucket:Bucket", "bucket", {}),
        ]
    ]


@pytest.mark.usefixtures("listed")
def test_a_new_stack() -> None:
    """At rest it costs what docs/cluster.md says."""
    plan = parse(preview(*as_it_is("create")))
    its = cost(plan)
    assert its.sum_usd(lambda item: item.then_usd) == pytest.approx(39.62, abs=0.005)
    golden("preview-new.md", stack_part(Review("dev", COMMIT, plan, check(plan), its)))


@pytest.mark.usefixtures("listed")
def test_a_change_that_costs_and_does_more() -> None:
    """With all that a name, a property or a warning can try on the text around it."""
    plan = parse(
        preview(
            *as_it_is(),
            step("create", NAT, name=HOSTILE, new={}),
            step("create", EIP, name="nat", new={}),
            step("create", "aws:rds/instance:Instance", name=HOSTILE, new={}),
            step(
                "update", GROUP, name="others", old={"minSize": 0}, new={"minSize": 2}, changed=["minSize", HOSTILE]
            ),
            step("create-replacement", EIP, name="old", old={}, new={}, changed=["domain"]),
            step("replace", EIP, name="old", old={}, new={}, changed=["domain"]),
            step("delete-replaced", EIP, name="old", old={}),
            step("delete", "aws:ec2/route:Route", name="out", old={}),
            step("import", "aws:iam/role:Role", name="role", new={}),
            warnings=[HOSTILE, HOSTILE],
        )
    )
    unsaved = f"changed and not committed: {HOSTILE}"
    golden("preview-changed.md", stack_part(Review("dev", COMMIT, plan, check(plan), cost(plan), unsaved=unsaved)))


@pytest.mark.usefixtures("listed")
def test_a_change_that_is_refused() -> None:
    plan = parse(
        preview(
            *as_it_is(),
            step("create", INGRESS, name=HOSTILE, new={"fromPort": 22, "toPort": 22, "cidrIpv4": "0.0.0.0/0"}),
            step("create", VOLUME, name="more", new={"size": 1, "type": "gp3"}),
        )
    )
    golden("preview-refused.md", joined([stack_part(Review("dev", COMMIT, plan, check(plan), cost(plan))), "### B"]))


def test_a_preview_that_fails() -> None:
    plan = parse(preview(errors=["spotPercent: 300 is not between 0 and 100", HOSTILE]))
    golden("preview-failed.md", stack_part(Review("dev", COMMIT, plan, check(plan), None)))


@pytest.mark.usefixtures("listed")
def test_nothing_to_do() -> None:
    plan = parse(preview(*as_it_is()))
    said = stack_part(Review("dev", COMMIT, plan, [], cost(plan)))
    assert "Nothing changes." in said
    assert "**At rest** 39.62 USD a month now, **39.62** then." in said


@pytest.mark.usefixtures("listed")
def test_what_has_no_price_makes_no_sum() -> None:
    """And is not passed over."""
    odd = MACHINE | {"instanceType": "x9.huge", "rootBlockDevice": {"encrypted": True}}
    plan = parse(preview(step("create", INSTANCE, new=odd), step("create", VOLUME, name="v", new={"size": UNKNOWN})))
    its = cost(plan)
    assert {item.what: item.then_usd for item in its.items} == {
        "disk of it": None,
        "instance it, x9.huge": None,
        "volume v": None,
    }
    assert "**unknown** then" in stack_part(Review("dev", COMMIT, plan, [], its))


@pytest.mark.usefixtures("listed")
def test_what_a_worker_costs_beside_its_instance() -> None:
    """Its disk, and an address where it has one; of its types the dearest."""
    plan = parse(preview())
    alone = cost(plan).worker_usd
    assert alone == pytest.approx(0.2 + 30 * 0.08 / 730)
    addressed = Settings(
        ssh_cidrs=SETTINGS.ssh_cidrs, ssh_public_key="ssh-ed25519 A", worker_egress="public", worker_disk_gb=730
    )
    assert cost(plan, addressed).worker_usd == pytest.approx(0.2 + 0.08 + 0.005)


def test_many_changes_are_cut_and_counted() -> None:
    plan = parse(preview(*(step("create", EIP, name=f"e{number:03}", new={}) for number in range(130))))
    said = stack_part(Review("dev", COMMIT, plan, [], None))
    assert "**Plan:** 130 to create" in said
    assert "… and 30 more." in said
    assert "e099" in said
    assert "e100" not in said


def test_drift() -> None:
    plan = parse(
        preview(
            step("update", GROUP, name=HOSTILE, old={}, new={}, changed=["maxSize"]),
            step("create", INGRESS, name="ssh", new={"cidrIpv4": "203.0.113.7/32"}),
        )
    )
    rule = Stranger(
        "sg-1", "sgr-1", "port 22 from 0.0.0.0/0", "aws ec2 revoke-security-group-ingress --group-id sg-1"
    )
    golden("drift.md", drift_part("dev", Drift(plan, (rule,))))


def test_a_stack_as_it_should_be_is_no_drift() -> None:
    assert not Drift(parse(preview(*as_it_is())), ())


@pytest.mark.usefixtures("listed")
def test_a_head_that_sleeps_costs_nothing_at_rest_and_its_hours_are_said() -> None:
    """By the tag of the groups, which a plan has of both sides."""
    tags = [{"key": IDLE_STOP_TAG, "value": "7200", "propagateAtLaunch": False}]
    before, after = {"minSize": 0}, {"minSize": 0, "tags": tags}
    steps = [
        step("same", INSTANCE, name="sweepfleet-dev-head", old=MACHINE, new=MACHINE),
        step("update", GROUP, name="workers", old=before, new=after),
    ]
    found = cost(parse(preview(*steps)))
    [head] = [item for item in found.items if item.what.startswith("instance")]
    assert (head.now_usd, head.then_usd) == (pytest.approx(0.0416 * 730), 0.0)
    assert found.head_usd == pytest.approx(0.0416 + 0.005)
    assert cost(parse(preview(*steps)), replace(SETTINGS, head_address="stays")).head_usd == pytest.approx(0.0416)
    never = [{**tags[0], "value": "never"}]
    up = cost(parse(preview(steps[0], step("same", GROUP, name="workers", old={"tags": never}, new={"tags": never}))))
    assert up.head_usd is None
    assert [item.then_usd for item in up.items if item.what.startswith("instance")] == [pytest.approx(0.0416 * 730)]
