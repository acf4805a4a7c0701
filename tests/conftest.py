"""Guards that hold for every test."""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.processes import ended_afterwards

# No test depends on luck or on how busy the machine is.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

FORBIDDEN = ("AWS_", "INVOKE_", "UV_RUN_")  # the last says that commands are to be proposed as `uv run inv`

_ours = signal.getsignal(signal.SIGINT)
if _ours is signal.SIG_IGN:  # in a shell's background: the commands that tests interrupt would ignore it, too
    _ours = signal.default_int_handler
# Importing the cluster's program leaves Ctrl-C to Pulumi; here it is pytest's.
importlib.import_module("sweepfleet.infra.interrupts")
signal.signal(signal.SIGINT, _ours)


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the developer's own account or settings: none can cost money, and all see the same."""
    for name in list(os.environ):
        if name.startswith(FORBIDDEN):
            monkeypatch.delenv(name)
    nowhere = Path(tmp_path_factory.getbasetemp(), "no-such-file")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def programs_end() -> Iterator[None]:
    """A program that a test started ends with it, also when the test fails before it waits."""
    with ended_afterwards():
        yield


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """What code sets for its own process, as a run's driver does for dask, is gone when its test ends."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def same_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test puts on the module path, or imports from its own folder, is gone when it ends."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and "pytest-" in file:
            del sys.modules[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file whose machines boot and wait, then one that computes, and so on: they run beside one another."""
    files = [list(tests) for _, tests in itertools.groupby(items, key=lambda test: test.path)]
    waiting = [tests for tests in files if _any_is(tests, "rehearsal")]
    computing = sorted((one for one in files if one not in waiting), key=lambda one: not _any_is(one, "engine"))
    items.clear()
    while waiting or computing:
        items += itertools.chain(*waiting[:1], *computing[:1])
        del waiting[:1], computing[:1]


def _any_is(tests: list[pytest.Item], mark: str) -> bool:
    return any(test.get_closest_marker(mark) for test in tests)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """End with what this machine could not test, and how to have it."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("not tested here")
        for reason, count in sorted(reasons.items()):
            terminalreporter.write_line(f"{count} skipped: {reason}")


@pytest.fixture(scope="module")
def browser():
    from browsing import ARGUMENTS, CHROMIUM
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Opens a report; when the test ends, nothing was asked of the network and nothing went wrong."""
    from browsing import draw

    contexts = []
    requests, errors = [], []

    def open_page(path, **options):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: errors.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        draw(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [
        url for url in requests if not url.startswith("file:///") and not url.startswith(("data:", "blob:"))
    ] == []
    assert len([url for url in requests if url.startswith("file:")]) == len(contexts)
