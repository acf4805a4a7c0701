"""What the report's charts show in a browser: all parameters, exact statistics, missing values, and comparisons."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest
from browsing import marks, traces, until
from test_report import make_rows, ordinary, page_of
from test_report_compare import folds as fold_rows
from test_report_compare import run_of
from test_report_statistics import folds

from sweepfleet.grid.sweep import Metric
from sweepfleet.run.report import sample
from sweepfleet.run.report.compare import write_comparison

pytestmark = marks


def options(page, section, label):
    """The choices of a selector."""
    return page.locator(f"#{section} label", has_text=label).first.locator("option").all_text_contents()


def hovers(page, name):
    """The texts that a chart of the library's shows over its marks."""
    return page.locator(f".plot.{name}").evaluate(
        "host => host.data.flatMap(trace => trace.hovertext || trace.text || []).flat()"
    )


def many(folder, count=400, names=13):
    """Rows of 13 parameters, numbers, words and booleans, of which the last matters most."""
    draw_ = random.Random(1)
    params = {
        f"p{k:02}": [draw_.choice([1, 2, 3] if k % 3 else [True, False]) for _ in range(count)] for k in range(names)
    }
    last = params[f"p{names - 1:02}"]
    values = [draw_.gauss(0, 1) + 5 * float(value) for value in last]
    return make_rows(folder, params=params, metrics={"m": values})


def test_every_parameter_can_be_chosen_in_every_chart(tmp_path, visit):
    """Thirteen of thirteen, in selectors and in the parallel coordinates, the one that matters first."""
    page = visit(page_of(tmp_path, many(tmp_path), metric=Metric("m")))
    names = {f"p{k:02}" for k in range(13)}
    assert set(options(page, "parameters", "Parameter")) == set(options(page, "curves", "Along")) == names
    assert set(options(page, "heatmap", "Across")) == set(options(page, "heatmap", "Upwards")) == names
    assert options(page, "parameters", "Parameter")[0] == "p12"
    assert page.locator("#parallel .chip:not(.metric)").count() == 13
    page.locator("#heatmap").get_by_label("Across").select_option(label="p03")
    page.locator("#heatmap").get_by_label("Upwards").select_option(label="p09")
    assert page.locator("#heatmap .xtitle").text_content() == "p03"
    assert traces(page, "heatmap") > 0


@pytest.mark.parametrize("rows_max", [sample.ROWS_MAX, 250])
def test_cells_are_exact_whether_python_or_the_page_works_them_out(tmp_path, visit, monkeypatch, rows_max):
    """Heatmap's means agree with a plain loop over all 600 rows, with all of them in the page and with a sample."""
    monkeypatch.setattr(sample, "ROWS_MAX", rows_max)
    draw_ = random.Random(2)
    params = {
        "a": [draw_.choice([1, 2, 5]) for _ in range(600)],
        "b": [draw_.choice(["x", "y", None]) for _ in range(600)],
    }
    values = [draw_.gauss(3, 1) for _ in range(600)]
    page = visit(page_of(tmp_path, make_rows(tmp_path, params=params, metrics={"m": values}), metric=Metric("m")))
    page.locator("#heatmap").get_by_label("Across").select_option(label="b")
    drawn = page.locator(".plot.heatmap").evaluate("host => host.data[0].z")
    for j, a in enumerate([1, 2, 5]):
        for i, b in enumerate(["x", "y", None]):
            mean = statistics.fmean(
                v for v, x, y in zip(values, params["a"], params["b"], strict=True) if (x, y) == (a, b)
            )
            assert drawn[j][i] == pytest.approx(mean, rel=1e-5)


def test_a_pair_beyond_the_budget_says_that_it_is_from_a_sample(tmp_path, visit, monkeypatch):
    monkeypatch.setattr(sample, "ROWS_MAX", 250)
    monkeypatch.setattr("sweepfleet.run.report.crosses.CELLS_MAX", 9)
    page = visit(page_of(tmp_path, many(tmp_path, names=4), metric=Metric("m")))
    caption = page.locator("#heatmap .caption")
    assert "sampled" not in caption.inner_text()
    page.locator("#heatmap").get_by_label("Across").select_option(label="p02")
    assert "From 250 of 400 finished rows, sampled evenly: this pair is not in the page." in caption.inner_text()


def test_a_bar_of_importance_chooses_the_parameter(tmp_path, visit):
    """By mouse or keyboard: the scatter beside it shows the parameter, and the bar says that it is pressed."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    bar = page.locator("#importance button[data-name=depth]")
    bar.press("Enter")
    assert page.locator("#parameters .xtitle").text_content() == "depth"
    assert bar.get_attribute("aria-pressed") == "true"
    assert page.locator("#importance [aria-pressed=true]").count() == 1


def test_the_scatter_has_every_row_and_the_mean_of_each_value(tmp_path, visit):
    """The 295 finished rows, those without the parameter in a lane of their own, and one mean for each level."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    page.locator("#parameters select").first.select_option(label="l1_ratio")
    data = page.locator(".plot.parameters").evaluate("host => host.data.map(trace => trace.x.length)")
    assert data[0] == 295
    assert sum(data[1:]) == 2
    assert "not set" in page.locator("#parameters .xtick").all_text_contents()


def test_a_row_without_a_parameter_keeps_its_line(tmp_path, visit):
    """Lines go through a lane for what is not set: all 295 are drawn between every two strips."""
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    texts = page.locator(".plot.parallel svg text").all_text_contents()
    assert "not set" in texts
    assert {"0.001", "0.01", "0.1", "1", "10"} <= set(texts)  # alpha's own values
    ink = page.locator(".plot.parallel canvas").evaluate(
        """canvas => {
            const lane = document.querySelector(".plot.parallel .gutter.missing");
            const ratio = canvas.width / canvas.clientWidth;
            const x = (Number(lane.getAttribute("x")) + Number(lane.getAttribute("width")) + 1) * ratio;
            const y = (Number(lane.getAttribute("y")) + 9) * ratio;
            const pixels = canvas.getContext("2d").getImageData(Math.floor(x), Math.floor(y) - 2, 4, 5).data;
            return pixels.filter((value, i) => i % 4 === 3 && value > 0).length;
        }"""
    )
    assert ink > 0


def test_a_chip_takes_an_axis_away_and_back(tmp_path, visit):
    page = visit(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")))
    strips = page.locator(".plot.parallel .grip")
    before = strips.count()
    chip = page.locator("#parallel").get_by_label("depth")
    chip.uncheck()
    assert strips.count() == before - 1
    chip.check()
    assert strips.count() == before


def test_the_best_so_far_is_drawn_for_rows_and_for_configurations(tmp_path, visit):
    page = visit(page_of(tmp_path, folds(tmp_path), metric=Metric("rmse", over=("fold",))))
    assert page.locator("#history .legendtext").all_text_contents() == [
        "one row",
        "best row so far",
        "best completed configuration so far",
    ]
    assert any(text.startswith("<b>5.2</b> best completed") for text in hovers(page, "history"))


def test_means_are_of_complete_configurations_and_the_caption_counts_the_others(tmp_path, visit):
    """Alpha 4, whose hardest fold failed, would have the best mean: it has none in the curves, and they say so."""
    page = visit(page_of(tmp_path, folds(tmp_path, broken=[(4, 0)]), metric=Metric("rmse", over=("fold",))))
    page.locator("#curves").get_by_label("One line for each").select_option(label="none")
    line = page.locator(".plot.curves").evaluate(
        "host => host.data.filter(trace => trace.text).map(({x, y}) => [x, y])"
    )
    assert line == [[[1, 2, 3], pytest.approx([7.2, 5.2, 6.0])]]
    words = "1 configuration without a finite rmse at every point is left out."
    assert words in page.locator("#curves .caption").inner_text()


def test_tables_show_that_they_scroll_and_keep_their_first_column(tmp_path, visit):
    """An edge is shaded where there is more; the first column and the header stay where they are."""
    page = visit(page_of(tmp_path, many(tmp_path), metric=Metric("m")))
    frame = page.locator("#rows .edged")
    scroll = frame.locator(".scroll")
    assert (frame.get_attribute("data-left"), frame.get_attribute("data-right")) == (None, "")
    scroll.evaluate("element => element.scrollTo(element.scrollWidth, 300)")
    until(page, "() => document.querySelector('#rows .edged').hasAttribute('data-left')")
    assert frame.get_attribute("data-right") is None
    for cell in ("#rows tbody tr:nth-child(12) td:first-child", "#rows thead th:first-child"):
        assert page.locator(cell).bounding_box()["x"] == pytest.approx(scroll.bounding_box()["x"], abs=2)
    head, box = page.locator("#rows thead th:first-child").bounding_box(), scroll.bounding_box()
    assert head["y"] == pytest.approx(box["y"], abs=3)


def test_numbers_read_as_they_do_on_the_terminal(tmp_path, visit):
    """%.6g for floats, whole numbers in full, true and false in JSON's words; the whole value as a tooltip."""
    params = {"n": [1234567, 2], "on": [True, False], "x": [1.25e-07, 123456.789]}
    page = visit(page_of(tmp_path, make_rows(tmp_path, params=params, metrics={"m": [1e6, 1 / 3]})))
    row = page.locator("#rows tbody tr").first
    texts = row.locator("td").all_inner_texts()
    assert {"1234567", "true", "1.25e-07", "1e+06"} <= set(texts)
    second = page.locator("#rows tbody tr").nth(1).locator("td")
    assert {"0.333333", "123457", "false"} <= set(second.all_inner_texts())
    assert second.get_by_text("0.333333").get_attribute("title") == "0.3333333333333333"


def test_a_comparison_draws_its_charts(tmp_path, visit):
    """Pairs, distributions, means along a parameter and the best so far, for both runs, without an error."""
    first = run_of(tmp_path, "first", **fold_rows([1, 2, 3, 4], shift=1.0))
    other = run_of(tmp_path, "other", **fold_rows([2, 3, 4, 5], shift=0.5))
    page = visit(write_comparison(tmp_path / "page.html", [first, other]))
    for name in ("pairs", "distribution", "curves", "history"):
        assert traces(page, name) > 0, name
    assert "Below the dashed line, other is better." in page.locator("#pairs .caption").inner_text()
    page.set_viewport_size({"width": 400, "height": 800})
    until(page, "() => document.documentElement.scrollWidth <= 400")


def test_a_page_of_many_rows_draws_from_its_sample(tmp_path, visit):
    """50,000 rows: the curves are over all of them, the scatter over 2,000, and both say so."""
    count = 50_000
    draw_ = np.random.default_rng(0)
    params = {"a": (np.arange(count) % 10).tolist(), "x": draw_.random(count).tolist()}
    path = make_rows(tmp_path, params=params, metrics={"m": draw_.random(count).tolist()})
    page = visit(page_of(tmp_path, path, metric=Metric("m")))
    caption = page.locator("#parameters .caption").inner_text()
    assert "of 50,000 finished rows, sampled evenly; the mean is over all rows." in caption
    page.locator("#curves").get_by_label("Along").select_option(label="a")
    page.locator("#curves").get_by_label("One line for each").select_option(label="none")
    assert any("5,000 rows" in text for text in hovers(page, "curves"))


def test_printing_draws_what_has_not_been_looked_at(tmp_path, browser):
    """Charts far below the window wait until they come near it; paper shows all of them."""
    context = browser.new_context(viewport={"width": 1280, "height": 600})
    page = context.new_page()
    page.goto(page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse")).as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    assert page.locator(".plot.utilisation").get_attribute("data-drawn") is None
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert traces(page, "utilisation") > 0
    context.close()
