"""`pulumi preview --json`, read into steps."""

from __future__ import annotations

import json

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.pipeline.plan import parse
from tests.plans import preview, step

VOLUME = "aws:ebs/volume:Volume"


def test_a_step_has_its_type_name_and_both_states() -> None:
    """The types of its parents stand before its own in the URN, and a name may hold what separates its parts."""
    said = step("update", VOLUME, name="a::b", old={"size": 1}, new={"size": 2}, protect=False, changed=["size"])
    (one,) = parse(preview(said)).steps
    assert (one.op, one.type, one.name, one.changed) == ("update", VOLUME, "a::b", ("size",))
    assert one.old is not None
    assert one.new is not None
    assert (one.old.inputs, one.old.protect) == ({"size": 1}, True)
    assert (one.new.inputs, one.new.protect) == ({"size": 2}, False)


def test_what_stays_is_a_step_and_no_change() -> None:
    plan = parse(preview(step("same", VOLUME, old={}, new={}), step("read", VOLUME, name="b", new={})))
    assert len(plan.steps) == 2
    assert plan.changes == []


def test_a_replacement_is_one_change_that_says_why() -> None:
    """Pulumi has three steps for it, of which not each says why."""
    three = (
        step("create-replacement", VOLUME, old={}, new={}, changed=["availabilityZone"]),
        step("replace", VOLUME, old={}, new={}, changed=["availabilityZone", "size"]),
        step("delete-replaced", VOLUME, old={}),
    )
    plan = parse(preview(*three))
    assert [one.op for one in plan.changes] == ["replace"]
    assert {one.changed for one in plan.steps} == {("availabilityZone", "size")}
    assert all(one.goes for one in plan.steps)


def test_errors_and_warnings_are_told_apart() -> None:
    plan = parse(preview(errors=["no credentials"], warnings=["pending operations"]))
    assert (plan.errors, plan.warnings) == (("no credentials",), ("pending operations",))


def test_an_empty_stack_has_an_empty_plan() -> None:
    assert parse("{}").steps == ()


@pytest.mark.parametrize(
    "text",
    ["", "error: no stack", "[]", "3", '{"steps": [{"op": "create"}]}', '{"steps": [{"urn": "a"}]}'],
)
def test_what_is_no_plan_is_refused_with_what_it_is(text: str) -> None:
    with pytest.raises(ClusterError, match="printed no plan"):
        parse(text)


def test_a_resource_without_inputs_is_read() -> None:
    said = json.loads(preview(step("delete", VOLUME, old={})))
    said["steps"][0]["oldState"] = {"inputs": None, "outputs": None}
    (one,) = parse(json.dumps(said)).steps
    assert one.old is not None
    assert (one.old.inputs, one.old.protect) == ({}, False)
