"""Opens reports from disk in headless Chromium, with every request and error recorded."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = os.environ.get("SWEEPFLEET_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
marks = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no Chromium found; `apt-get install chromium`, or name one in $SWEEPFLEET_CHROMIUM",
    ),
]


def draw(page):
    """Scroll through the page, so that every chart is drawn, and back to its top."""
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    until(page, "() => [...document.querySelectorAll('.plot')].every(plot => plot.dataset.drawn)")
    page.evaluate("scrollTo(0, 0)")


def traces(page, name):
    """How many traces with at least one drawn mark a chart of the library's has."""
    return page.locator(f".plot.{name}").evaluate(
        """host => [...host.querySelectorAll(".trace path, .bars path, .hm image, .hm rect")]
            .filter(mark => mark.getBoundingClientRect().width > 0).length"""
    )


def until(page, condition):
    """Wait for a condition in the page; its policy forbids the eval that Playwright's own waiting needs."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)
