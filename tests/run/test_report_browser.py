"""How the report behaves in a browser: opened from disk in headless Chromium, every request and error recorded."""

from __future__ import annotations

import math
import random

import polars as pl
import pytest
from browsing import marks, traces, until
from test_report import HOSTILE, MANIFEST, make_rows, ordinary, page_of

from sweepfleet.grid.sweep import Metric

DASH = "\N{EN DASH}"
pytestmark = marks


def column(page, label):
    """The texts of a column on the table's present page."""
    labels = page.locator("#rows th button").all_inner_texts()
    return page.locator(f"#rows tbody td:nth-child({labels.index(label) + 1})").all_inner_texts()


def ink(page):
    """How many pixels of the parallel coordinates' canvas are painted."""
    return page.locator(".plot.parallel canvas").evaluate(
        """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
            .reduce((sum, value, i) => sum + (i % 4 === 3 && value > 0 ? 1 : 0), 0)"""
    )


def test_every_chart_is_drawn(tmp_path, visit):
    """Five charts with marks in them, one of them on a canvas of its own, and the efficiency beside the fifth."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    for name in ("curves", "heatmap", "distribution", "utilisation"):
        assert traces(page, name) > 0, name
    assert ink(page) > 1000
    assert page.locator("#utilisation .headline .value").inner_text() == "98.4 %"
    assert "2 slots" in page.locator(".plot.utilisation").inner_text()


def test_selectors_draw_other_parameters_and_metrics(tmp_path, visit):
    """Choosing another axis, group, metric or band changes what is drawn, and the axis says so."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    curves = page.locator("#curves")
    assert curves.locator(".xtitle").text_content() == "alpha"
    curves.get_by_label("Along").select_option(label="model")
    assert curves.locator(".xtitle").text_content() == "model"
    assert {"ridge", "lasso"} <= set(curves.locator(".xtick").all_text_contents())
    curves.get_by_label("Metric").select_option(label="r2")
    assert curves.locator(".ytitle").text_content() == "r2"
    before = curves.locator(".errorbar path").first.get_attribute("d")
    curves.get_by_label("Band").select_option(label="± 1 standard deviation")
    assert curves.locator(".errorbar path").first.get_attribute("d") != before
    curves.get_by_label("One line for each").select_option(label="depth")
    assert curves.locator(".legendtext").all_text_contents() == ["1", "2", "3"]

    heatmap = page.locator("#heatmap")
    across, upwards = heatmap.locator(".xtitle").text_content(), heatmap.locator(".ytitle").text_content()
    heatmap.get_by_label("Across").select_option(label=upwards)
    assert (heatmap.locator(".xtitle").text_content(), heatmap.locator(".ytitle").text_content()) == (upwards, across)


def test_a_click_on_a_header_sorts_numerically_and_another_turns_it_round(tmp_path, visit):
    """2 stands before 10, NaN and nothing stand last either way, and aria-sort says which way it is."""
    values = [10.0, 2.0, None, 33.5, math.nan, -1.0, 1e-9]
    page = visit(page_of(tmp_path, make_rows(tmp_path, params={}, metrics={"m": values})))
    button = page.locator("#rows").get_by_role("button", name="m", exact=True)
    head = button.locator("xpath=..")
    assert head.get_attribute("aria-sort") == "none"
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, "m") == ["-1", "1e-09", "2", "10", "33.5", DASH, "NaN"]
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, "m") == ["33.5", "10", "2", "1e-09", "-1", DASH, "NaN"]
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator("#rows th[aria-sort=none]").count() == page.locator("#rows th").count() - 1


def test_the_table_starts_with_the_best_and_turns_pages(tmp_path, visit):
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    first = [float(value) for value in column(page, "rmse")]
    assert first == sorted(first)
    assert len(first) == 50
    page.get_by_role("button", name="Next").click()
    assert float(column(page, "rmse")[0]) >= first[-1]
    assert page.locator("#rows .status").inner_text() == f"51{DASH}100 of 300 rows"


FILTERS = {
    "alpha<0.1": lambda row: row["alpha"] < 0.1,
    "alpha >= 0.1 model=lasso": lambda row: row["alpha"] >= 0.1 and row["model"] == "lasso",
    "status=failed": lambda row: row["failed"],
    "depth!=2 and RIDGE": lambda row: row["depth"] != 2 and row["model"] == "ridge",
    "l1_ratio=null": lambda row: row["l1_ratio"] is None,
    "param.depth==3 'lasso'": lambda row: row["depth"] == 3 and row["model"] == "lasso",
    "nothing like this": lambda _: False,
}


def test_a_filter_keeps_exactly_the_rows_that_match(tmp_path, visit):
    """Words and expressions select what a plain loop over the rows selects, and the status line counts it."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    everything = [
        {
            "alpha": 10.0 ** (i % 5 - 3), "model": ("ridge", "lasso")[i % 2], "depth": i // 5 % 3 + 1,
            "l1_ratio": 0.5 if i % 2 else None, "failed": i in range(7, 300, 60),
        }
        for i in range(300)
    ]  # fmt: skip
    for text, keeps in FILTERS.items():
        page.get_by_label("Filter").fill(text)
        expected = sum(map(bool, map(keeps, everything)))
        status = page.locator("#rows .status").inner_text()
        if expected:
            assert status == f"1{DASH}{min(50, expected)} of {expected} rows (filtered from 300)", text
        else:
            assert status == "No row matches (filtered from 300)"
        assert len(column(page, "point_id")) == min(50, expected)


def test_a_filter_on_an_unknown_column_says_so(tmp_path, visit):
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    field = page.get_by_label("Filter")
    field.fill("alhpa<0.1")
    assert page.locator("#rows .status").inner_text() == "There is no column “alhpa”."
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("")
    assert field.get_attribute("aria-invalid") == "false"
    assert len(column(page, "point_id")) == 50


def test_dragging_along_an_axis_keeps_some_lines(tmp_path, visit):
    """A brush over the lower half of the last axis keeps fewer lines; a click on it lets go."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    host = page.locator(".plot.parallel")
    host.scroll_into_view_if_needed()
    assert host.get_attribute("data-lines") == "295"
    box = host.locator(".grip").last.bounding_box()
    x, middle, bottom = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["y"] + box["height"] - 2
    page.mouse.move(x, middle)
    page.mouse.down()
    page.mouse.move(x, bottom, steps=4)
    page.mouse.up()
    kept = int(host.get_attribute("data-lines"))
    assert 0 < kept < 295
    assert f"{kept} of 295 lines kept." in page.locator("#parallel .caption").inner_text()
    page.mouse.click(x, middle)
    assert host.get_attribute("data-lines") == "295"


def test_hostile_values_are_inert_and_readable(tmp_path, visit):
    """Markup in names, values, errors, notes and the manifest does nothing and reads as it was typed."""
    hostile = f"{HOSTILE}<svg onload=window.hacked=1><a href=javascript:window.hacked=1>link</a>"
    count = 40
    path = make_rows(
        tmp_path,
        params={
            hostile: [(hostile, "<b>b</b>")[i % 2] for i in range(count)],
            "n": [i // 2 % 4 for i in range(count)],
        },
        metrics={f"m{HOSTILE}": [float(i) for i in range(count)], "t": [hostile] * count},
        failed=[1],
        errors={1: (hostile, f"{hostile}\n{hostile}")},
    )
    page = visit(
        page_of(
            tmp_path, path, metric=Metric(f"m{HOSTILE}"), manifest=dict.fromkeys(MANIFEST, hostile),
            notes=[hostile], name=hostile,
        )
    )  # fmt: skip
    page.locator("#failures summary").click()
    page.get_by_label("Along").select_option(label=page.get_by_label("Along").locator("option").nth(1).inner_text())
    page.get_by_label("Filter").fill("img")
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main a[href^=javascript], main b:not(figure b)").count() == 0
    assert page.locator(".plot a").count() == 0
    assert page.locator("h1").inner_text() == hostile
    assert hostile in page.locator("#failures pre").inner_text()
    ticks = page.locator("#curves .xtick").all_text_contents()
    assert "<b>b</b>" in ticks
    assert any(text.startswith("</script><img") for text in ticks)
    assert hostile in column(page, "t")


def test_an_injected_script_does_not_run(tmp_path, browser):
    """Should a text ever escape its place, the policy still refuses it: scripts, handlers and eval."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")).as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", '<p id="bait" onclick="window.hacked = 2">bait</p>');
        }"""
    )
    page.locator("#bait").click()
    assert page.evaluate("window.hacked") is None
    context.close()


def unusual():
    """Runs that have little to show, or too much: name -> (rows, options of the page)."""
    draw = random.Random(0)
    return {
        "no metrics": ({"params": {"a": [1, 2, 3]}, "metrics": {}}, {}),
        "one point": ({"params": {"a": [1], "b": ["x"]}, "metrics": {"m": [0.5]}}, {"metric": Metric("m")}),
        "all failed": (
            {"params": {"a": [1, 2, 3]}, "metrics": {"m": [None] * 3}, "failed": [0, 1, 2]},
            {"metric": Metric("m", "maximize")},
        ),
        "a metric nobody returned": ({"params": {"a": [1, 2]}, "metrics": {}}, {"metric": Metric("m")}),
        "all nan": ({"params": {"a": [1, 2]}, "metrics": {"m": [math.nan] * 2}}, {"metric": Metric("m")}),
        "infinities": (
            {"params": {"a": [1, 2, 3, 4]}, "metrics": {"m": [math.inf, -math.inf, 1.0, math.nan]}},
            {"metric": Metric("m")},
        ),
        "one parameter": (
            {"params": {"a": [1, 2, 3]}, "metrics": {"m": [1.0, 2.0, 1.5]}},
            {"metric": Metric("m")},
        ),
        "text metric": ({"params": {"a": [1, 2]}, "metrics": {"m": ["x", "y"]}}, {"metric": Metric("m")}),
        "true or false": (
            {"params": {"a": [True, False]}, "metrics": {"m": [True, False]}},
            {"metric": Metric("m", "maximize")},
        ),
        "no parameters": ({"params": {}, "metrics": {"m": [1.0, 1.0, 2.0]}}, {"metric": Metric("m")}),
        "200 parameters": (
            {
                "params": {f"p{k:03}": [draw.random() for _ in range(300)] for k in range(200)},
                "metrics": {"m": [draw.random() for _ in range(300)]},
            },
            {"metric": Metric("m")},
        ),
        "long names and texts": (
            {
                "params": {"x" * 200: ["long text " * 50, "b"] * 4, "y y": [[1, 2][i % 2] for i in range(8)]},
                "metrics": {"m" * 150: [float(i) for i in range(8)]},
            },
            {"metric": Metric("m" * 150)},
        ),
        "huge and tiny": (
            {
                "params": {"a": [1e-300, 1.0, 1e300]},
                "metrics": {"m": [1e-308, 1.7e308, -1.7e308], "k": [1.7e308] * 3},
            },
            {"metric": Metric("m")},
        ),
        "no time at all": (
            {"params": {"a": [1, 2]}, "metrics": {"m": [1.0, 2.0]}, "duration": [0.0, 0.0], "started": [5.0, 5.0]},
            {},
        ),
        "interrupted": (
            {"params": {"a": [1, 2]}, "metrics": {"m": [1.0, 2.0]}},
            {"metric": Metric("m"), "state": "interrupted", "points": 9, "efficiency": None, "wall_s": None},
        ),
    }


@pytest.mark.parametrize("name", unusual())
def test_an_unusual_run_gives_a_sane_page(tmp_path, visit, name):
    """No error, no chart without data, nothing wider than the window, and every row in the table."""
    rows, options = unusual()[name]
    path = make_rows(tmp_path, **rows)
    page = visit(page_of(tmp_path, path, **options))
    page.set_viewport_size({"width": 400, "height": 800})
    until(page, "() => document.documentElement.scrollWidth <= 400")
    for section in page.locator("section:has(.plot):not(#parallel)").all():
        chart = section.get_attribute("id")
        assert traces(page, chart) > 0, chart
    if page.locator("#parallel").count():
        assert ink(page) > 0
    count = len(next(iter({**rows["params"], **rows["metrics"]}.values())))
    assert f"of {count} rows" in page.locator("#rows .status").inner_text()
    assert "NaN" not in page.locator("header").inner_text()
    assert "undefined" not in page.locator("main").inner_text()


def test_no_number_of_the_head_reaches_into_the_next(tmp_path, visit):
    """At any width, as that of a notebook's cell: the longest numbers have six digits and an exponent."""
    path = make_rows(tmp_path, params={"a": [1, 2]}, metrics={"m": [-1.234567e-123, 1.0]})
    page = visit(page_of(tmp_path, path, metric=Metric("m")))
    for width in range(320, 1300, 60):
        page.set_viewport_size({"width": width, "height": 800})
        over = page.locator(".tiles .value").evaluate_all(
            "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
        )
        assert over == [], width
        until(page, f"() => document.documentElement.scrollWidth <= {width}")


def test_a_run_without_rows_gives_a_page(tmp_path, visit):
    path = make_rows(tmp_path, params={"a": [1.0]}, metrics={"m": [1.0]})
    pl.read_parquet(path).clear().write_parquet(path)
    page = visit(page_of(tmp_path, path, metric=Metric("m"), state="interrupted", points=5))
    assert "No point has finished yet." in page.locator("main").inner_text()
    assert page.locator(".plot, table").count() == 0


def test_charts_follow_the_colour_scheme_and_paper_is_white(tmp_path, visit):
    """Dark on a dark screen, light again when printed, and dark once more after."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")), color_scheme="light")
    title = page.locator(".plot.curves .xtitle")
    colour = "element => element.style.fill"
    light = title.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    until(page, f"() => document.querySelector('.plot.curves .xtitle').style.fill !== {light!r}")
    dark = title.evaluate(colour)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert title.evaluate(colour) == light
    wide = "() => Math.max(...[...document.querySelectorAll('.plot')].map(plot => plot.scrollWidth))"
    assert page.evaluate(wide) <= 688  # 96 dpi on A4 within its margins
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert title.evaluate(colour) == dark
