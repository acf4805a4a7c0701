"""What points printed, in the report: whose, how much of it, and where the rest is."""

from __future__ import annotations

import contextlib

from browsing import marks
from test_report import MANIFEST, data_in, make_rows, static_in, summary_of

from sweepfleet.run.outputs import Attempt, Outputs
from sweepfleet.run.report import printed, write_report
from sweepfleet.slot.output import Printed

STARTED_S = 1.79e9  # as `make_rows` has it: of the first row; each next one begins half a second later
HOSTILE = "</script><script>window.hacked = 1</script>"


def output_of(folder, texts, *, failed=()):
    """An output.sqlite in which the point of each row printed a text."""
    path = folder / "output.sqlite"
    with contextlib.closing(Outputs(path)) as outputs:
        outputs.record(
            Attempt(f"{row:016x}", STARTED_S + row * 0.5, row in failed, Printed(text.encode()).pack())
            for row, text in texts.items()
        )
    return path


def page_with(folder, texts, *, count=20, failed=(3,)):
    path = make_rows(folder, params={"a": list(range(count))}, metrics={"m": [1.0] * count}, failed=failed)
    output = output_of(folder, texts, failed=failed)
    return write_report(folder, results=path, summary=summary_of(path), manifest=MANIFEST, metric=None, output=output)


def test_failed_points_come_first_within_the_bounds(tmp_path, monkeypatch):
    """Of 20 points there is room for three: both failed ones and the first of the others. The rest is told."""
    monkeypatch.setattr(printed, "ALL_MAX", 35)
    page = page_with(tmp_path, {row: f"text of {row:02}" for row in range(20)}, failed=(3, 7))
    shown = data_in(page)["table"]["printed"]
    assert {row: text for row, text in shown.items() if text} == {
        "3": "text of 03",
        "7": "text of 07",
        "0": "text of 00",
    }
    assert len(shown) == 20
    assert "text of 03</pre>" in static_in(page)


def test_a_long_text_keeps_its_beginning_and_its_end(tmp_path):
    text = "".join(f"line {number}\n" for number in range(10_000))
    shown = data_in(page_with(tmp_path, {0: text}))["table"]["printed"]["0"]
    assert shown.startswith("line 0\n")
    assert shown.endswith("line 9999\n")
    assert "characters dropped" in shown
    assert len(shown) < printed.EACH_MAX + 100


def test_what_a_point_printed_before_it_was_computed_again_is_not_shown(tmp_path):
    """As in `inv output`: the row is of another attempt, which printed nothing, failed or not."""
    path = make_rows(tmp_path, params={"a": [1, 2, 3]}, metrics={"m": [1.0] * 3}, failed=[1])
    with contextlib.closing(Outputs(tmp_path / "output.sqlite")) as outputs:
        for row, began in ((0, -60.0), (1, -60.0), (2, 1.0)):
            outputs.record([Attempt(f"{row:016x}", STARTED_S + began, row == 1, Printed(b"older").pack())])
    page = write_report(
        tmp_path, results=path, summary=summary_of(path), manifest=MANIFEST, metric=None,
        output=tmp_path / "output.sqlite",
    )  # fmt: skip
    assert data_in(page)["table"]["printed"] == {"2": "older"}
    assert "older" not in static_in(page)


def test_a_damaged_file_costs_no_report(tmp_path):
    """Failures say why nothing that points printed is shown."""
    path = make_rows(tmp_path, params={"a": [1, 2]}, metrics={"m": [1.0, 2.0]}, failed=[0])
    (tmp_path / "output.sqlite").write_text("this is no database, though it is long enough to be taken for one" * 20)
    page = write_report(
        tmp_path, results=path, summary=summary_of(path), manifest=MANIFEST, metric=None,
        output=tmp_path / "output.sqlite",
    )  # fmt: skip
    assert "is damaged" in static_in(page)


def test_no_file_no_output(tmp_path):
    path = make_rows(tmp_path, params={"a": [1, 2]}, metrics={"m": [1.0, 2.0]})
    page = write_report(
        tmp_path, results=path, summary=summary_of(path), manifest=MANIFEST, metric=None, output=tmp_path / "none"
    )
    assert data_in(page)["table"]["printed"] == {}


@marks[0]
@marks[1]
def test_a_click_shows_what_a_point_printed(tmp_path, visit):
    """Below its row, as text, with the command for all of it; another click takes it away, the focus stays."""
    page = visit(page_with(tmp_path, {3: f"{HOSTILE}\nsecond line", 5: ""}))
    assert page.locator("#rows button.more").count() == 2
    page.get_by_label("Filter").fill("status=failed")
    button = page.locator("#rows button.more")
    button.press("Enter")
    assert page.locator("#rows tr.detail pre").inner_text() == f"{HOSTILE}\nsecond line"
    assert "inv output --name sweep --point 0000000000000003" in page.locator("#rows tr.detail").inner_text()
    assert button.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.activeElement.className") == "more"
    button.press("Enter")
    assert page.locator("#rows tr.detail").count() == 0
    assert page.evaluate("window.hacked") is None
