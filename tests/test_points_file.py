"""What `grid.points_file` promises: rows of plain values from csv, json, jsonl and parquet, or why not."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import polars as pl
import pytest

from grid.points_file import PointsError, read_points


def rows(tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return read_points(path)


def test_csv_cells_are_typed_as_yaml_1_2_types_words(tmp_path):
    text = '\ufeffa, b ,c\r\n1e-4,no,\r\n010,"x, y",true\r\n\r\n"1",2024-01-01,null\r\n'
    assert rows(tmp_path, "p.csv", text) == [
        {"a": 1e-4, "b": "no"},
        {"a": 10, "b": "x, y", "c": True},
        {"a": 1, "b": "2024-01-01", "c": None},
    ]


def test_json_and_jsonl_hold_maps(tmp_path):
    expected = [{"a": 1, "b": [1, {"c": 2}]}, {"a": 1.5}, {}, {"a": None}]
    assert rows(tmp_path, "p.json", json.dumps(expected)) == expected
    assert rows(tmp_path, "p.jsonl", "\n\n".join(map(json.dumps, expected)) + "\n") == expected


def test_parquet_columns_become_plain_values(tmp_path):
    frame = pl.DataFrame(
        {
            "i": [1, None],
            "f": [0.5, float("nan")],
            "s": ["x", "y"],
            "l": [[1, 2], []],
            "m": [{"a": 1}, {"a": None}],
            "d": [dt.date(2024, 1, 2), dt.date(2024, 1, 3)],
            "t": [dt.datetime(2024, 1, 2, 3, 4), None],  # noqa: DTZ001  (a column without a zone)
            "n": [decimal.Decimal("1.5"), None],
        }
    )
    frame.write_parquet(tmp_path / "p.parquet")
    first, second = read_points(tmp_path / "p.parquet")
    assert first == {
        "i": 1,
        "f": 0.5,
        "s": "x",
        "l": [1, 2],
        "m": {"a": 1},
        "d": "2024-01-02",
        "t": "2024-01-02T03:04:00",
        "n": 1.5,
    }
    assert second.keys() == {"f", "s", "l", "m", "d"}
    assert second["f"] != second["f"]
    assert second["m"] == {"a": None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "", "no points file"),
        ("p.csv", "", "no header"),
        ("p.csv", "a,a\n1,2", "repeated name"),
        ("p.csv", "a,\n1,2", "empty or repeated"),
        ("p.csv", "a,b\n1,2\n1,2,3", "p.csv, row 2: 3 cells under 2 names"),
        ("p.csv", 'a\n"x', "p.csv, line 2"),
        ("p.csv", "a\n" + "9" * 5000, "row 1: a number has too many digits"),
        ("p.csv", "a\n" + "x" * 200_000, "field larger than"),
        ("p.csv", b"a\n\xff", "not UTF-8"),
        ("p.json", "{}", "no list of rows"),
        ("p.json", "[1]", "p.json, row 1: this is no map"),
        ("p.json", '[{"a": 1}, {"a": 1, "a": 2}]', "a key is given twice"),
        ("p.json", "[" * 100_000, "not valid JSON"),
        ("p.json", "[" + "9" * 5000 + "]", "not valid JSON"),
        ("p.jsonl", '{"a": 1}\n\n{"a"', "p.jsonl, row 2 is not valid JSON"),
        ("p.parquet", "PAR1", "not valid Parquet"),
    ],
)
def test_what_cannot_be_used_names_the_file_and_the_row(tmp_path, name, content, message):
    with pytest.raises(PointsError) as caught:
        rows(tmp_path, name, content)
    assert message in caught.value.message
    assert caught.value.remedy


def test_bytes_in_parquet_are_refused(tmp_path):
    pl.DataFrame({"a": [b"x"]}).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(PointsError, match="row 1: bytes"):
        read_points(tmp_path / "p.parquet")


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_a_missing_file_names_the_nearest(tmp_path, kind):
    (tmp_path / f"points.{kind}").touch()
    with pytest.raises(PointsError, match=f"No such file.*Did you mean `points.{kind}`") as caught:
        read_points(tmp_path / f"point.{kind}")
    assert f"point.{kind} cannot be read" in caught.value.message


def test_a_folder_is_no_file(tmp_path):
    for kind in ("csv", "parquet"):
        (tmp_path / f"d.{kind}").mkdir()
        with pytest.raises(PointsError, match="cannot be read"):
            read_points(tmp_path / f"d.{kind}")


def test_only_so_many_rows_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("grid.points_file.MAX_ROWS", 3)
    assert len(rows(tmp_path, "p.csv", "a\n1\n2\n3\n")) == 3
    with pytest.raises(PointsError, match="more than 3 rows"):
        rows(tmp_path, "p.csv", "a\n1\n2\n3\n4\n")
    pl.DataFrame({"a": [1, 2, 3, 4]}).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(PointsError, match="more than 3 rows"):
        read_points(tmp_path / "p.parquet")
