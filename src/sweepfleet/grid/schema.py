"""The JSON Schema of grid files, for editors; `python -m sweepfleet.grid.schema` writes it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sweepfleet.grid.spec import GridFile

PATH = Path(__file__).with_name("grid.schema.json")


def schema() -> dict[str, Any]:
    """The schema, made from the models."""
    made = GridFile.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "sweepfleet grid file"}


def text() -> str:
    """The schema's file, as it should be."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
