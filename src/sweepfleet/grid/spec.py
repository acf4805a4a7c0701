"""The pydantic models of a grid file: every key with its type, description and an example.

The models check shapes only; what the values mean together is checked where they are turned into a plan. The
JSON Schema for editors is made from the same models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from sweepfleet.grid import fields
from sweepfleet.grid.sweep import Start

Number = Annotated[Any, BeforeValidator(fields.number), WithJsonSchema({"type": "number"})]
Whole = Annotated[int, Field(ge=1)]
Condition = Annotated[list[str], BeforeValidator(fields.one_or_more, json_schema_input_type=str | list[str])]
Entry = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, validate_by_alias=True, validate_by_name=True)


class _Optional(_Strict):
    """A map in which a key with an empty value counts as absent."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


class ParameterSpec(_Strict):
    """One parameter: exactly one way of giving its values."""

    values: list[Any] | None = Field(None, description="The values, each passed whole.", examples=[["a", "b"]])
    value: Any = Field(None, description="The one value.", examples=[3])
    range: list[Number] | None = Field(
        None, description="[start, stop] or [start, stop, step], stop excluded.", examples=[[0, 10, 2]]
    )
    linspace: list[Number] | None = Field(
        None, description="[first, last, count], both ends included, evenly spaced.", examples=[[0, 1, 11]]
    )
    logspace: list[Number] | None = Field(
        None, description="[first, last, count] of exponents of 10, both ends included.", examples=[[-4, 2, 7]]
    )
    distribution: str | None = Field(
        None, description="The distribution to draw from, by W&B's name.", examples=["log_uniform_values"]
    )
    min: Number | None = Field(None, description="The lower bound.", examples=[0])
    max: Number | None = Field(None, description="The upper bound.", examples=[1])
    mu: Number | None = Field(None, description="The mean of a normal distribution.", examples=[0])
    sigma: Number | None = Field(None, description="The standard deviation of a normal distribution.", examples=[1])
    q: Number | None = Field(None, description="The step that a quantised distribution rounds to.", examples=[0.5])
    a: Number | None = Field(None, description="A beta distribution's first shape parameter.", examples=[2])
    b: Number | None = Field(None, description="A beta distribution's second shape parameter.", examples=[5])
    probabilities: list[Number] | None = Field(
        None, description="One for each of `values`, summing to 1.", examples=[[0.9, 0.1]]
    )
    parameters: Parameters | None = Field(
        None, description="Parameters inside this one: depth inside net is net.depth.", examples=[{"depth": [2, 4]}]
    )


Parameter = Annotated[
    ParameterSpec,
    BeforeValidator(fields.parameter, json_schema_input_type=list[Any] | str | int | float | bool | ParameterSpec),
]
Parameters = dict[str, Parameter]


class MetricSpec(_Optional):
    """The number that decides which point is best."""

    name: str = Field(description="A key of what the target returns.", examples=["rmse"])
    goal: Literal["minimize", "maximize"] = Field(
        "minimize", description="Which way is better.", examples=["minimize"]
    )
    over: Condition = Field(
        default_factory=list,
        description="Parameters to average over, as over replicates: the best is a mean.",
        examples=["fold"],
    )
    target: Number | None = Field(None, description="W&B's; accepted and ignored.", examples=[0.9])
    impute: Any = Field(None, description="W&B's; accepted and ignored.")
    impute_while_running: Any = Field(None, description="W&B's; accepted and ignored.")


class ResourcesSpec(_Optional):
    """What one point needs."""

    cpus: Whole = Field(1, description="Cores, and threads of numerical libraries.", examples=[2])
    memory: Annotated[
        int | None, BeforeValidator(fields.size, json_schema_input_type=str | Annotated[int, Field(ge=1)])
    ] = Field(None, description="A point that grows past this fails: 2GB, 512MiB, bytes.", examples=["2GB"])


class ExecutionSpec(_Optional):
    """How to run the points; nothing here changes what a point is."""

    timeout: Annotated[
        float | None,
        BeforeValidator(fields.seconds, json_schema_input_type=str | Annotated[float, Field(gt=0)]),
    ] = Field(None, description="For one attempt at one point: 90s, 10m, 1h30m, seconds.", examples=["10m"])
    retries: int = Field(0, ge=0, description="Further attempts after the code failed.", examples=[2])
    infra_retries: int = Field(20, ge=0, description="Further attempts after a machine was lost.", examples=[20])
    max_fails: Whole | None = Field(None, description="Stop once this many points have failed.", examples=[50])
    fail_fast: bool = Field(False, description="Stop at the first failed point.", examples=[True])
    max_parallel: Whole | None = Field(None, description="Points computed at once, at most.", examples=[64])
    resources: ResourcesSpec = Field(
        default_factory=ResourcesSpec,
        description="What one point needs.",
        examples=[{"cpus": 1, "memory": "2GB"}],
    )
    bundle: Annotated[
        int | None,
        BeforeValidator(fields.bundle, json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=1)]),
    ] = Field(None, description="Points sent to a slot at once; auto measures.", examples=[100])
    order: Literal["given", "shuffled"] = Field("given", description="The order of running.", examples=["shuffled"])
    checkpoint_every: Annotated[
        float | None,
        BeforeValidator(fields.seconds, json_schema_input_type=str | Annotated[float, Field(gt=0)]),
    ] = Field(None, description="On a cluster, how often a running point's checkpoint is stored.", examples=["10m"])
    max_cost: Annotated[
        float | None, BeforeValidator(fields.usd, json_schema_input_type=Annotated[float, Field(gt=0)])
    ] = Field(
        None, description="Most US dollars that the sweep may cost on a cluster; it stops there.", examples=[12.5]
    )
    deadline: Annotated[
        float | None,
        BeforeValidator(fields.seconds, json_schema_input_type=str | Annotated[float, Field(gt=0)]),
    ] = Field(
        None, description="When the sweep is to be done on a cluster, from its submission: 6h, 90m.", examples=["6h"]
    )
    log: Annotated[
        int,
        BeforeValidator(fields.log, json_schema_input_type=str | Annotated[int, Field(ge=1000, le=16_000_000)]),
    ] = Field(65536, description="How much of what one point prints is kept: 1MB, bytes, none.", examples=["1MB"])
    start: Start = Field(
        "auto", description="How processes start: forked after one import, or spawned.", examples=["spawn"]
    )

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema["properties"].update(
            {
                "fail-fast": {"type": "boolean", "description": "GitHub's spelling of fail_fast."},
                "max-parallel": {"type": "integer", "minimum": 1, "description": "GitHub's of max_parallel."},
            }
        )
    )

    @model_validator(mode="before")
    @classmethod
    def _github_spelling(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for ours in ("fail_fast", "max_parallel"):
            theirs = ours.replace("_", "-")
            if ours in data and theirs in data:
                raise PydanticCustomError(
                    "twice", "{seen}", {"seen": f"{ours} and {theirs} are the same key.", "remedy": "Keep one."}
                )
            if theirs in data:
                data[ours] = data.pop(theirs)
        return data


class PointsSpec(_Optional):
    """A file of explicit points."""

    file: str = Field(description="Relative to the grid file: .csv, .json, .jsonl, .parquet.", examples=["ids.csv"])
    types: dict[str, Literal["text", "number", "integer", "boolean"]] = Field(
        default_factory=dict, description="What the cells of a .csv column are.", examples=[{"id": "text"}]
    )


PointsFile = Annotated[PointsSpec, BeforeValidator(fields.file, json_schema_input_type=str | PointsSpec)]
PointsFiles = Annotated[
    list[PointsFile],
    BeforeValidator(fields.files, json_schema_input_type=str | PointsSpec | list[str | PointsSpec]),
]
Method = Annotated[Literal["grid", "random", "sobol", "one_at_a_time", "list"], BeforeValidator(fields.method)]


class BlockSpec(_Optional):
    """Parameters, how to combine them, and what to exclude or add."""

    method: Method | None = Field(None, description="How the parameters are combined.", examples=["random"])
    parameters: Parameters = Field(
        default_factory=dict, description="The parameters by name.", examples=[{"alpha": [0.1, 1]}]
    )
    zip: dict[str, Parameters] = Field(
        default_factory=dict,
        description="Named groups of parameters that vary together.",
        examples=[{"size": {"width": [64, 128], "batch": [256, 128]}}],
    )
    when: dict[str, str] = Field(
        default_factory=dict,
        description="A parameter or zip exists only where its condition is true.",
        examples=[{"l1_ratio": "model == 'lasso'"}],
    )
    where: Condition = Field(
        default_factory=list, description="Conditions that every point meets.", examples=[["depth * width <= 256"]]
    )
    exclude: list[Entry] = Field(
        default_factory=list,
        description="Points that have all values of an entry are skipped.",
        examples=[[{"model": "lasso", "alpha": 100.0}]],
    )
    include: list[Entry] = Field(
        default_factory=list, description="Points to add, or keys for matching points.", examples=[[{"model": "ols"}]]
    )
    samples: Annotated[int, Field(ge=1, le=10**12)] | None = Field(
        None, description="How many points random and sobol draw.", examples=[200]
    )


class GridFile(BlockSpec):
    """A sweep: what to run, for which parameters, and how."""

    name: str | None = Field(None, description="The run's folder is runs/<name>.", examples=["ridge-vs-lasso"])
    description: str | None = Field(None, description="For readers.", examples=["Which penalty fits best?"])
    run: str | None = Field(None, description="module:function to call.", examples=["examples.diabetes.fit:fit"])
    pickle: str | None = Field(
        None,
        description="The function itself, as sweepfleet.sweep writes it; run is then its name.",
        examples=["runs/ridge/function.pickle"],
    )
    command: Annotated[
        list[Annotated[str, BeforeValidator(fields.word)]] | None,
        BeforeValidator(fields.words, json_schema_input_type=list[str | int | float]),
    ] = Field(None, description="The command to start, word by word.", examples=[["Rscript", "fit.R", "{alpha}"]])
    program: str | None = Field(
        None, description="W&B's: the script that ${program} stands for.", examples=["fit.py"]
    )
    seed: int = Field(0, description="Every point's own seed is derived from it.", examples=[42])
    replicates: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1, description="Computes every point this often, each with its own seed.", examples=[5]
    )
    grids: list[BlockSpec] = Field(
        default_factory=list,
        description="Several blocks; the sweep is their union.",
        examples=[[{"parameters": {"alpha": [0.1, 1]}}]],
    )
    points: PointsFiles = Field(
        default_factory=list, description="Files of explicit points.", examples=["points.csv"]
    )
    metric: MetricSpec | None = Field(
        None, description="What decides which point is best.", examples=[{"name": "rmse", "goal": "minimize"}]
    )
    execution: ExecutionSpec = Field(
        default_factory=ExecutionSpec,
        description="How to run the points.",
        examples=[{"timeout": "10m", "retries": 2}],
    )
    run_cap: Whole | None = Field(None, description="W&B's: no more points than this.", examples=[100])
    early_terminate: Any = Field(None, description="W&B's; accepted, not supported yet.")
    project: Any = Field(None, description="W&B's; accepted and ignored.")
    entity: Any = Field(None, description="W&B's; accepted and ignored.")
    controller: Any = Field(None, description="W&B's; accepted and ignored.")
    kind: Any = Field(None, description="W&B's; accepted and ignored.")
    api_version: Any = Field(None, alias="apiVersion", description="W&B's; accepted and ignored.")
