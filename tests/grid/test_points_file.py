"""What `grid.points_file` promises: rows of plain values from csv, json, jsonl and parquet, or why not."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import io
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from sweepfleet.grid import csv_cells
from sweepfleet.grid.errors import GridError
from sweepfleet.grid.load import loads
from sweepfleet.grid.points_file import PointsError, read_points
from sweepfleet.grid.space import Space


def rows(tmp_path, name, content, types=None, **more):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return read_points(path, types, **more)


def test_csv_cells_are_typed_as_yaml_1_2_types_words(tmp_path):
    text = '\ufeffa, b ,c\r\n1e-4,no,\r\n010,"x, y",true\r\n\r\n"1",2024-01-01,null\r\n'
    assert rows(tmp_path, "p.csv", text) == [
        {"a": 1e-4, "b": "no"},
        {"a": 10, "b": "x, y", "c": True},
        {"a": "1", "b": "2024-01-01", "c": None},
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
        ("p.txt", "", "not a points file"),
        ("p.csv", "", "no header"),
        ("p.csv", "a,a\n1,2", "repeated name"),
        ("p.csv", "a,\n1,2", "empty or repeated"),
        ("p.csv", "a,b\n1,2\n1,2,3", "p.csv, row 2: 3 cells, and the header has 2"),
        ("p.csv", 'a\n"x', "p.csv, line 2: a quote is opened and not closed"),
        ("p.csv", 'a,b\n1,2\n"x"y,2', "p.csv, line 3: there is text after a closing quote"),
        ("p.csv", 'a\n"' + "x\n" * 300_000, "line 2: a quote is opened and not closed"),
        ("p.csv", "a\n" + "9" * 5000, "row 1, column a: a number has too many digits"),
        ("p.csv", "a\n" + "x" * 200_000, "a cell is larger than"),
        ("p.csv", b"a\n\xff", "not UTF-8"),
        ("p.json", "{}", "not a list of rows"),
        ("p.json", "[1]", "p.json, row 1: this is not a map"),
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
    monkeypatch.setattr("sweepfleet.grid.points_file.MAX_ROWS", 3)
    assert len(rows(tmp_path, "p.csv", "a\n1\n2\n3\n")) == 3
    with pytest.raises(PointsError, match="more than 3 rows"):
        rows(tmp_path, "p.csv", "a\n1\n2\n3\n4\n")
    pl.DataFrame({"a": [1, 2, 3, 4]}).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(PointsError, match="more than 3 rows"):
        read_points(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"007"', "007"),
        ("007", 7),
        (' "007" ', "007"),
        ('"a, ""b"""', 'a, "b"'),
        ('"line\nnext\r\n"', "line\nnext\r\n"),
        ('5" pipe', '5" pipe'),
        ('a"b"', 'a"b"'),
        ('"true"', "true"),
        ('"null"', "null"),
        ('""', ""),
        ('"  "', "  "),
        ("  ", None),
        ("", None),
        ("' x'", "' x'"),
        ('"\u2028é"', "\u2028é"),
    ],
)
def test_a_quoted_cell_is_text_as_it_stands(tmp_path, text, expected):
    (row,) = rows(tmp_path, "p.csv", f"a,b\n{text},1\n")
    assert row == ({"b": 1} if expected is None else {"a": expected, "b": 1})
    (row,) = rows(tmp_path, "p.csv", f'b,a\r\n"1",{text}')
    assert row == ({"b": "1"} if expected is None else {"b": "1", "a": expected})


@trials(deadline=None)
@given(
    cells=st.lists(
        st.lists(st.text(alphabet="ab1 ,\"'\n\r\t;é", max_size=6), min_size=2, max_size=2), min_size=1, max_size=5
    )
)
def test_what_python_s_writer_quotes_is_read_back_to_the_letter(cells):
    with io.StringIO(newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(cells)
        file.seek(0)
        assert [[(*cell,) for cell in row] for _, row in csv_cells.rows(file)] == [
            [(cell, True) for cell in row] for row in cells
        ]


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("text", "007", "007"),
        ("text", " x ", " x "),
        ("text", "1e5", "1e5"),
        ("text", "null", "null"),
        ("text", '"1"', "1"),
        ("number", "1", 1),
        ("number", "1e-3", 1e-3),
        ("number", '"0.5"', 0.5),
        ("integer", '"7"', 7),
        ("integer", "9007199254740993", 9007199254740993),
        ("boolean", "true", True),
        ("boolean", '"False"', False),
        ("number", "x", "`x` is not a number"),
        ("number", '""', "an empty text is not a number"),
        ("number", "true", "`true` is not a number"),
        ("integer", "7.0", "`7.0` is not a whole number"),
        ("integer", "null", "`null` is not a whole number"),
        ("boolean", "1", "`1` is not true or false"),
        ("boolean", "no", "`no` is not true or false"),
    ],
)
def test_a_column_has_the_type_that_is_given(tmp_path, kind, cell, expected):
    text = f"y,id\n1,\n2,{cell}\n"
    if isinstance(expected, str) and "not" in expected:
        with pytest.raises(PointsError) as caught:
            rows(tmp_path, "p.csv", text, {"id": kind})
        assert caught.value.message == f"p.csv, row 2, column id: {expected}."
    else:
        found = rows(tmp_path, "p.csv", text, {"id": kind})
        assert [repr(row) for row in found] == [repr({"y": 1}), repr({"y": 2, "id": expected})]


def test_types_are_of_columns_that_there_are_and_of_csv(tmp_path):
    with pytest.raises(PointsError, match=r"no column `idd`.*Did you mean `id`"):
        rows(tmp_path, "p.csv", "id\n1\n", {"idd": "text"})
    with pytest.raises(PointsError, match=r"`types` is for \.csv files only"):
        rows(tmp_path, "p.json", '[{"id": 1}]', {"id": "text"})


def test_a_column_of_quoted_numbers_is_told(tmp_path):
    """A writer that quotes every cell makes texts of all numbers."""
    told: list[str] = []
    text = 'n,id,m,t,e\n"1","007",1,"x",""\n"2.5","1","2","1",""\n'
    assert rows(tmp_path, "p.csv", text, warn=told.append)[0]["n"] == "1"
    (seen,) = told
    assert seen.startswith("p.csv: n is text, since its cells are in quotes.")
    assert seen.endswith("{file: p.csv, types: {n: number}}.")
    rows(tmp_path, "p.csv", text, {"n": "text"}, warn=told.append)
    assert len(told) == 1


@pytest.mark.parametrize(
    "points", ["{file: ids.csv, types: {id: text}}", "[more.csv, {file: ids.csv, types: {id: text}}]"]
)
def test_a_grid_names_files_with_types(tmp_path, points):
    (tmp_path / "ids.csv").write_text("id,x\n007,1\n010,2\n")
    (tmp_path / "more.csv").write_text('id,x\n"007",3\n')
    sweep = loads(f"run: a:b\npoints: {points}", source=tmp_path / "grid.yaml")
    found = [(point.params["id"], point.params["x"]) for point in Space(sweep.plan).points(0, 9)]
    assert found == [*[("007", 3)] * ("more" in points), ("007", 1), ("010", 2)]
    assert sweep.files == (("more.csv", "ids.csv") if "more" in points else ("ids.csv",))
    again = loads(f"run: a:b\npoints: {points}", source=tmp_path / "grid.yaml", overrides=["replicates=2"])
    assert loads(again.text, source=tmp_path / "grid.yaml").plan == again.plan


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ("{file: ids.csv, types: {id: txt}}", "`txt` is not allowed; it must be text, number, integer or boolean"),
        ("{fil: ids.csv}", "Did you mean `file`?"),
        ("[{types: {id: text}}]", "The key `file` is missing"),
        ("[5]", "it must be a file's name, or a map of `file` and `types`"),
        ("{file: ids.csv, types: {if: text}}", "no column `if`"),
    ],
)
def test_a_mistake_under_points_is_one_problem(tmp_path, points, told):
    (tmp_path / "ids.csv").write_text("id,x\n007,1\n010,2\n")
    with pytest.raises(GridError) as caught:
        loads(f"run: a:b\nparameters: {{x: 1, id: 2}}\npoints: {points}", source=tmp_path / "grid.yaml")
    (problem,) = caught.value.problems
    assert told in str(problem)
    assert problem.line == 3
