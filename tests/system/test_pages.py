"""The documentation as pages: built without a network, and every link in it leads somewhere."""

from __future__ import annotations

import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import sweepfleet as sf
from tests import browsing, pages
from tests.command import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.build(tmp_path_factory.mktemp("documentation")).parent


class Page(HTMLParser):
    """What a page links to, what it loads, and what can be linked to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag in {"script", "img", "iframe", "source"} and "src" in found:
            self.loads.append(found["src"])
        elif tag == "link" and "href" in found and found.get("rel") != "canonical":
            self.loads.append(found["href"])


page = cache(Page)


def lost(site: Path) -> list[str]:
    """Each link and each address within the site that leads nowhere, with its page."""
    found = []
    for file in sorted(site.rglob("*.html")):
        for link in (*page(file).links, *page(file).loads):
            parts = urlsplit(link)
            if parts.scheme or file.name == "404.html":  # which any address shows: its links are the site's own
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            known = target.is_file() and target.is_relative_to(site.resolve())
            if not known or (parts.fragment and target.suffix == ".html" and not _has(target, parts.fragment)):
                found.append(f"{file.relative_to(site)}: {link}")
    return found


def _has(target: Path, fragment: str) -> bool:
    return unquote(fragment) in page(target).ids


def test_every_link_leads_to_a_page_and_a_title_that_are_there(site: Path) -> None:
    assert lost(site) == []


def test_a_link_that_leads_nowhere_is_found(site: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(site, tmp_path / "site")
    first = broken / "index.html"
    first.write_text(
        first.read_text().replace(
            "</body>", '<a href="docs/grid.html#no-such"></a><a href="docs/none.html"></a></body>'
        )
    )
    assert lost(broken) == ["index.html: docs/grid.html#no-such", "index.html: docs/none.html"]


def test_no_page_loads_anything_from_the_network(site: Path) -> None:
    loads = {load for file in site.rglob("*.html") for load in page(file).loads}
    assert loads
    assert [load for load in loads if urlsplit(load).netloc] == []


def test_the_navigation_is_the_table_of_the_documentation(site: Path) -> None:
    """And no page is left out of it but those that pages link to."""
    text = (ROOT / "docs" / "README.md").read_text()
    names = re.findall(r"^\| \[(.*?)\]", text, re.MULTILINE)
    nav = yaml.safe_load((site.parent / "mkdocs.yml").read_text())["nav"]
    groups = [next(iter(each.items())) for each in nav]
    assert [next(iter(each)) for _, group in groups if isinstance(group, list) for each in group] == names
    assert [name for name, _ in groups if name.startswith("You")] == re.findall(
        r"^\| (You .*?) \|", text, re.MULTILINE
    )


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    assert pages.NAME.findall(text) == list(sf.__all__)
    ids = page(site / "docs" / "api.html").ids
    assert {f"sweepfleet.{name}" for name in sf.__all__} <= ids
    assert "sweepfleet.Run.frame" in ids
    assert not any(part.startswith("_") for name in ids if name.startswith("sweepfleet.") for part in name.split("."))


@pytest.mark.usefixtures("browser")
class TestInABrowser:
    """As its reader sees it, from the disk."""

    pytestmark = browsing.marks

    def test_the_reference_is_shown_and_nothing_goes_wrong(self, site: Path, browser: object) -> None:
        shown = browser.new_page(viewport={"width": 1280, "height": 900})  # type: ignore[attr-defined]
        asked: list[str] = []
        wrong: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.goto((site / "docs" / "api.html").as_uri())
        shown.get_by_role("link", name="sf.Run").click()
        assert shown.locator("[id='sweepfleet.Run']").is_visible()
        assert shown.locator(".highlight .k").first.evaluate("each => getComputedStyle(each).color") != shown.locator(
            "body"
        ).evaluate("each => getComputedStyle(each).color")
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert wrong == []
        shown.close()
