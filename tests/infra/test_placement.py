"""Which zones a stack uses: none that would fail a launch, as long as there is another."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from sweepfleet.infra.placement import Placement, place
from sweepfleet.infra.problems import SettingsError

ABC = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
A, B, C = ABC


def placed(
    offered: Mapping[str, Collection[str]], *, named: tuple[str, ...] = (), region: Collection[str] = ABC
) -> Placement:
    return place(named=named, region_zones=region, offered=offered, head_type="t3", worker_types=("x", "y"))


def test_all_zones_when_all_offer_all() -> None:
    assert placed({"t3": ABC, "x": ABC, "y": ABC}) == Placement(ABC, A, ABC, ())


def test_at_most_three_zones_by_themselves_and_more_when_named() -> None:
    region = [f"eu-west-1{letter}" for letter in "fedcba"]
    everywhere = {"t3": region, "x": region, "y": region}
    assert placed(everywhere, region=region).zones == ABC
    assert placed(everywhere, region=region, named=("eu-west-1f", "eu-west-1b")).zones == (
        "eu-west-1f",
        "eu-west-1b",
    )


def test_local_zones_and_letters_without_a_subnet_are_passed_over() -> None:
    everywhere = {"t3": ABC, "x": ABC, "y": ABC}
    assert placed(everywhere, region=["eu-west-1-lhr-1", "eu-west-1z", *ABC]).zones == ABC


def test_a_zone_without_one_of_the_types_gets_no_workers() -> None:
    """It would fail launches that the group tries there; it keeps its subnet, for when the types change."""
    found = placed({"t3": ABC, "x": ABC, "y": (A, C)})
    assert (found.zones, found.worker_zones) == (ABC, (A, C))
    assert found.notes == (f"{B}: no workers there, it does not offer y",)


def test_the_head_goes_where_its_type_is() -> None:
    assert placed({"t3": (C, B), "x": ABC, "y": ABC}).head_zone == B


def test_when_no_zone_offers_all_types_all_are_used() -> None:
    found = placed({"t3": ABC, "x": (A,), "y": (B,)})
    assert found.worker_zones == ABC
    assert found.notes


@pytest.mark.parametrize(
    ("offered", "named", "said"),
    [
        ({"t3": ABC, "x": ABC}, (), "workerInstanceTypes: `y` is offered in no zone of this region"),
        ({"t3": ABC, "x": ABC, "y": (C,)}, (A,), f"`y` is offered in {C}, and the stack's zones are {A}."),
        ({"t3": (C,), "x": ABC, "y": ABC}, (A, B), f"headInstanceType: `t3` is offered in {C}"),
        ({"t3": ABC, "x": ABC, "y": ABC}, (A, "eu-west-1f"), "`eu-west-1f` is not available. The region has"),
    ],
)
def test_what_cannot_be_placed_is_said(
    offered: Mapping[str, Collection[str]], named: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        placed(offered, named=named)
    assert said in str(refused.value)
