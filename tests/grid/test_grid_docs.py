"""docs/grid.md is true: its examples run, its tables are complete, and the schema beside the code is current."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path

import jsonschema
import polars as pl
import pytest

from sweepfleet.grid import schema
from sweepfleet.grid.load import loads
from sweepfleet.grid.space import Space
from sweepfleet.grid.spec import ExecutionSpec, GridFile, ResourcesSpec
from sweepfleet.grid.validate import keys_of
from sweepfleet.grid.wandb import LAWS
from sweepfleet.grid.yamlfile import Reading, compose
from sweepfleet.slot.printed import read
from sweepfleet.slot.tables import split

DOCS = Path(__file__).parents[2] / "docs" / "grid.md"
TEXT = DOCS.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
POINTS = "model,alpha\nridge,0.1\nlasso,1e-3\n"


def complete(example):
    """An example as a whole file: those about one key leave the target out."""
    has_target = re.search(r"^(run|command|program):", example, flags=re.MULTILINE)
    return example if has_target else f"run: fit:fit\n{example}"


def plain(example):
    return Reading().value(compose(complete(example)))


def test_there_are_examples():
    assert len(EXAMPLES) >= 18


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads_and_makes_the_points_that_it_says(example, tmp_path):
    (tmp_path / "points.csv").write_text(POINTS)
    sweep = loads(complete(example), source=tmp_path / "grid.yaml")
    count = Space(sweep.plan).count()
    assert count.exact
    assert f"# {count.points} point" in example


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_meets_the_schema(example):
    jsonschema.validate(plain(example), schema.schema())


def test_the_schema_file_is_current():
    """If this fails: python -m sweepfleet.grid.schema."""
    assert schema.PATH.read_text(encoding="utf-8") == schema.text()


def test_the_schema_is_one_and_describes_every_key():
    made = schema.schema()
    jsonschema.Draft202012Validator.check_schema(made)
    for model in (made, *made["$defs"].values()):
        for key, field in model["properties"].items():
            named = made["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            assert field.get("description") or named.get("description"), key


@pytest.mark.parametrize(
    "wrong",
    [
        {"run": "a:b", "parmeters": {}},
        {"run": "a:b", "samples": "many"},
        {"run": "a:b", "parameters": {"a": {"rnge": [0, 1]}}},
        {"run": "a:b", "execution": {"resources": {"memory": []}}},
        {"run": "a:b", "execution": {"max_cost": 0}},
        {"run": "a:b", "metric": {"goal": "minimize"}},
        {"run": "a:b", "grids": [{"replicates": 3}]},
    ],
)
def test_the_schema_refuses_what_is_wrong(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema.schema())


@pytest.mark.parametrize(
    "right",
    [
        {"run": "a:b", "execution": {"fail-fast": True, "max-parallel": 3, "bundle": "auto", "timeout": 3}},
        {"run": "a:b", "execution": {"max_cost": 9}},
        {"run": "a:b", "where": "a > 1", "points": "x.csv", "parameters": {"a": 3, "b": [1], "c": {"value": None}}},
    ],
)
def test_the_schema_takes_every_spelling(right):
    jsonschema.validate(right, schema.schema())
    assert GridFile.model_validate(json.loads(json.dumps(right)))


def test_the_tables_name_every_key_and_every_distribution():
    for key in (*keys_of(GridFile), *keys_of(ExecutionSpec), *LAWS):
        assert f"`{key}`" in TEXT or f"`{key}." in TEXT or key == "resources", key
    for key in keys_of(ResourcesSpec):
        assert f"`resources.{key}`" in TEXT


def test_every_link_within_the_page_leads_somewhere():
    titles = re.findall(r"^#+ (.*)$", TEXT, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(#([^)]*)\)", TEXT)
    assert len(links) > 10
    assert set(links) <= anchors


def blocks(language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_function_and_the_command_with_several_rows_a_point_return_what_the_page_says():
    """And the line that joins them to the parameters in polars does."""
    function, joins, _ = blocks("python")
    names = {}
    exec(function, names)  # noqa: S102 - the page's own text
    metrics, columns = split(names["fit"](2))
    assert metrics == {"rmse": 54.0}
    assert columns == {"fold": [0, 1, 2, 3, 4], "rmse": [50, 52, 54, 56, 58]}
    (output,) = (text for text in blocks("") if "\n::rows::\n" in text)
    metrics, columns = split(read(output))
    assert metrics == {"rmse": 52.1}
    assert columns == {"fold": [0, 1], "rmse": [50.9, 53.3]}
    long = pl.DataFrame({"point_id": ["a", "a"], "row": [0, 1]} | columns)
    results = pl.DataFrame({"point_id": ["a", "b"], "param.alpha": [0.1, 1.0]})
    (polars,) = (line for line in joins.splitlines() if line.endswith("# polars"))
    joined = eval(polars, {"long": long, "results": results})  # noqa: S307 - the page's own text
    assert joined.columns == ["point_id", "row", "fold", "rmse", "param.alpha"]
    assert joined["param.alpha"].to_list() == [0.1, 0.1]


def test_the_function_with_a_checkpoint_continues_from_it(tmp_path):
    """Cut off while it writes its fourth one, it takes up the third, and returns what it returns without that."""
    *_, function = blocks("python")
    names = {}
    exec(function, names)  # noqa: S102 - the page's own text
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    written = []

    def dumps(state):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(state["step"])
        return json.dumps(state)

    names["json"] = types.SimpleNamespace(loads=json.loads, dumps=dumps)
    with pytest.raises(KeyboardInterrupt):
        names["fit"](0.001, cut)
    names["json"] = types.SimpleNamespace(
        loads=lambda text: written.append(text) or json.loads(text), dumps=json.dumps
    )
    assert names["fit"](0.001, cut) == names["fit"](0.001, whole)
    assert json.loads(written[-1])["step"] == 300
