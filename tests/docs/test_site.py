"""The site: its one command builds it without a warning, and every link on it leads somewhere."""

import inspect
import posixpath
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

import minicnn as mc
from minicnn import data, functional, graph, models, nn, optim, study, train
from minicnn.kernels import reference
from minicnn.study import plots

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The links of a page, what it loads, and the places that links can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") != "canonical":
            self.loads.append(given["href"])
        elif "src" in given:
            self.loads.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built by the command that docs/site.md names."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", folder / "doctrees"]
    done = subprocess.run([*command, "docs", folder / "html"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Page]:
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_link_leads_to_a_place(site, pages):
    dead = []
    for name, page in pages.items():
        for link in (*page.links, *page.loads):
            target = urlsplit(link)
            if target.scheme:
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(target.path)))
            path = path if target.path else name
            exists = unquote(target.fragment) in pages[path].places if path in pages else (site / path).is_file()
            if not exists:
                dead.append(f"{name}: {link}")
    assert len(pages) > 20
    assert not dead, "\n".join(dead)


def test_nothing_is_loaded_from_elsewhere(pages):
    loads = {(name, load) for name, page in pages.items() for load in page.loads}
    assert not {(name, load) for name, load in loads if urlsplit(load).scheme not in ("", "data")}


def test_every_public_name_has_an_entry(pages):
    modules = (
        mc,
        functional,
        data,
        data.transforms,
        graph,
        nn,
        optim,
        train,
        mc.kernels,
        reference,
        models,
        study,
        plots,
    )
    named = [(name, getattr(module, name)) for module in modules for name in public_names(module)]
    wanted = {name for name, thing in named if inspect.isfunction(thing) or inspect.isclass(thing)}
    entries = {place.rpartition(".")[2] for page in pages.values() for place in page.places if "minicnn." in place}
    assert len(wanted) > 150
    assert wanted - entries == set()


def public_names(module: ModuleType) -> list[str]:
    return getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.slow), 390])
def test_the_guide_in_a_browser(site, pages, web_page, width):
    """No complaint, no request to anywhere, formulas that are drawn, and nothing that makes a page too wide."""
    web_page.set_viewport_size({"width": width, "height": 800})
    for name in ("index.html", "reference/functional.html", *sorted(p for p in pages if p.startswith("guide/"))):
        web_page.goto((site / name).as_uri())
        assert web_page.evaluate("document.documentElement.scrollWidth") <= width, name
        drawn = web_page.evaluate("[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().width)")
        assert all(formula > 3 for formula in drawn), name
