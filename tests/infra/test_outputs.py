"""A stack's outputs: what the program writes is what every reader finds."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.infra.export import export_all
from sweepfleet.infra.outputs import NAMES, Outputs, OutputsError

# Fields of stacks of this version, and what older ones are read with.
LATER = {
    "worker_disk_gb": 30,
    "on_demand_group": "",
    "worker_peers": "",
    "head_address": "stays",
    "head_idle_stop": "never",
}


def sample(**other: Any) -> Outputs:
    """Outputs with a value of its kind in every field."""
    values = {"str": "text", "int": 3, "tuple[str, ...]": ("a", "b")}
    return Outputs(**{one.name: values[str(one.type)] for one in dataclasses.fields(Outputs)} | other)


def test_what_is_written_is_read() -> None:
    assert Outputs.from_json(sample().to_json()) == sample()


def test_numbers_come_as_floating_point_from_pulumi() -> None:
    assert Outputs.from_json(json.dumps(dataclasses.asdict(sample()) | {"max_workers": 10.0})).max_workers == 10


def test_a_stack_that_an_older_version_made_is_read() -> None:
    """What it does not export has the default of the setting, or says that the stack does not have it."""
    values = {name: value for name, value in dataclasses.asdict(sample()).items() if name not in LATER}
    read = Outputs.from_json(json.dumps(values))
    assert dataclasses.asdict(read) == values | LATER
    assert read.worker_groups == (read.worker_group,)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LATER])
def test_a_field_that_is_missing_or_of_another_type_is_named(name: str) -> None:
    values = dataclasses.asdict(sample())
    for broken in (values | {name: None}, {key: value for key, value in values.items() if key != name}):
        with pytest.raises(OutputsError, match=rf"\b{name}\b"):
            Outputs.from_json(json.dumps(broken))


def test_all_that_is_wrong_is_named() -> None:
    values = dataclasses.asdict(sample()) | {
        "bucket": 7,
        "max_workers": "many",
        "worker_zones": [1],
        "budget_usd": True,
    }
    with pytest.raises(OutputsError) as refused:
        Outputs.from_json(json.dumps(values))
    for name in ("bucket (7)", 'max_workers ("many")', "worker_zones ([1])", "budget_usd (true)"):
        assert name in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "7"])
def test_no_outputs_at_all_is_said(text: str) -> None:
    with pytest.raises(OutputsError):
        Outputs.from_json(text)


def test_an_output_of_a_later_version_does_not_matter() -> None:
    assert Outputs.from_json(json.dumps(dataclasses.asdict(sample()) | {"new": 1})) == sample()


def test_the_exporter_takes_exactly_the_fields() -> None:
    values = dict.fromkeys(NAMES, "x")
    with pytest.raises(TypeError, match="surplus"):
        export_all(**values, surplus=1)
    del values["bucket"]
    with pytest.raises(TypeError, match="bucket"):
        export_all(**values)


def test_reading_a_stack_loads_no_pulumi() -> None:
    code = (
        "import sys, sweepfleet.fleet.stack.folder, sweepfleet.infra.settings\n"
        "print({'pulumi', 'pulumi_aws', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_checkout_remembers_outputs_whole(tmp_path: Any) -> None:
    folder = StackFolder(tmp_path, "dev")
    assert folder.outputs() is None
    folder.keep(sample())
    folder.keep(sample(bucket="other"))
    assert folder.outputs() == sample(bucket="other")
    assert [path.name for path in folder.path.iterdir()] == ["outputs.json"]
    folder.forget()
    assert folder.outputs() is None
    folder.forget()


def test_remembered_outputs_that_cannot_be_used_say_how_to_have_new_ones(tmp_path: Any) -> None:
    folder = StackFolder(tmp_path, "dev")
    folder.path.mkdir(parents=True)
    for content in (b"{", b"{}", b"\xff\xfe"):
        folder.outputs_file.write_bytes(content)
        with pytest.raises(ClusterError, match="inv outputs --refresh --stack dev"):
            folder.outputs()
