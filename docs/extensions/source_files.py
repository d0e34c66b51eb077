"""The files of the repository as pages of the site.

A link such as `[autograd.py](../../minicnn/autograd.py)` works where the repository is browsed. On the site it leads to
a page that shows the file, with line numbers. A link whose text is code, a function, class or method of that file as in
[`Tensor.backward`](../../minicnn/_tensor.py), leads to its line. Every quotation (`literalinclude`) gets a link above
it, and every entry of the API reference one to its source. A file or a name that does not exist is a warning, which the
site's command turns into an error.
"""

import ast
import importlib
import inspect
import posixpath
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
LANGUAGES = {".py": "python", ".cu": "cuda", ".cuh": "cuda", ".toml": "toml", ".md": "markdown", ".h": "cpp"}


def page_of(path: Path) -> str:
    """The name of the page that shows a file of the repository."""
    return f"files/{path.relative_to(ROOT).as_posix()}"


@cache
def definitions(path: Path) -> dict[str, int]:
    """The line of every function, class and method of a Python file, by its name (methods: "Tensor.backward")."""
    lines: dict[str, int] = {}

    def collect(parent: ast.AST, prefix: str) -> None:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                lines[prefix + node.name] = node.lineno
                collect(node, f"{prefix}{node.name}.")

    collect(ast.parse(path.read_text()), "")
    return lines


def uri(app: Sphinx, document: str, path: Path, line: int | None) -> str:
    """The address of a file's page, or of one line on it, as seen from a document."""
    page = app.builder.get_relative_uri(document, page_of(path))
    return page if line is None else f"{page}#L-{line}"


def link_files(app: Sphinx, doctree: nodes.document) -> None:
    """Turn MyST's links to files, which would be downloads, into links to their pages."""
    document = app.env.docname
    for download in list(doctree.findall(addnodes.download_reference)):
        path = (Path(app.env.doc2path(document)).parent / download["reftarget"]).resolve()
        link = nodes.reference("", "", internal=True, refuri=uri(app, document, path, _line(download, path)))
        link["file"] = str(path)
        link.extend(download.children)
        download.replace_self(link)


def _line(link: nodes.Element, path: Path) -> int | None:
    """The line that a link is about, if its text is the name of something in the file."""
    name = link.astext().removesuffix("()")
    if path.suffix != ".py" or not any(link.findall(nodes.literal)) or name.endswith(".py"):
        return None
    if name not in definitions(path):
        logger.warning("%s has no function, class or method %s", path.relative_to(ROOT), name, location=link)
    return definitions(path).get(name)


def link_quotations(app: Sphinx, doctree: nodes.document) -> None:
    """Above each quotation the file and the line where it stands."""
    for block in list(doctree.findall(nodes.literal_block)):
        path = Path(block.get("source") or "")
        if path.suffix not in LANGUAGES or not path.is_relative_to(ROOT) or not path.is_file():
            continue
        block.rawsource = block.astext().rstrip()
        block[:] = [nodes.Text(block.rawsource)]  # without the empty lines before what it ends before
        whole = path.read_text()
        start = whole.find(block.rawsource.lstrip())
        line = None if start < 0 else whole.count("\n", 0, start) + 1
        name = path.relative_to(ROOT).as_posix()
        target = uri(app, app.env.docname, path, line)
        link = nodes.reference("", "", nodes.literal(text=name), internal=True, refuri=target, file=str(path))
        block.parent.insert(block.parent.index(block), nodes.paragraph("", "", link, classes=["quotation"]))


def link_entries(app: Sphinx, doctree: nodes.document) -> None:
    """In each entry of the API reference a link to its source."""
    for signature in doctree.findall(addnodes.desc_signature):
        found = _source(signature.get("module"), signature.get("fullname"))
        if found is not None:
            path, line = found
            text = nodes.inline("", "[source]", classes=["viewcode-link"])
            target = uri(app, app.env.docname, path, line)
            signature += nodes.reference("", "", text, internal=True, refuri=target, file=str(path))


def _source(module: str | None, name: str | None) -> tuple[Path, int] | None:
    """Where an object of the API is defined; None for what has no lines of its own, such as a number."""
    if not module or not name:
        return None
    first, *rest = name.split(".")
    thing: Any = getattr(importlib.import_module(module), first)
    for part in rest:
        thing = inspect.getattr_static(thing, part)  # the property itself, not what it gives
    thing = inspect.unwrap(getattr(thing, "fget", None) or getattr(thing, "__func__", thing))
    if not (inspect.isfunction(thing) or inspect.isclass(thing)):
        return None
    path = Path(inspect.getsourcefile(thing) or "").resolve()
    return (path, inspect.getsourcelines(thing)[1]) if path.is_relative_to(ROOT) else None


def file_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file that some page links to."""
    documents = (app.env.get_doctree(name) for name in app.env.found_docs)
    references = (link for document in documents for link in document.findall(nodes.reference))
    for path in sorted({Path(link["file"]) for link in references if "file" in link}):
        name = path.relative_to(ROOT).as_posix()
        body = app.builder.highlighter.highlight_block(  # type: ignore[attr-defined]
            path.read_text(), LANGUAGES.get(path.suffix, "text"), linenos="inline", lineanchors="L", anchorlinenos=True
        )
        title = posixpath.basename(name)
        yield page_of(path), {"title": title, "body": f'<h1>{name}</h1><div class="file">{body}</div>'}, "page.html"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("doctree-read", link_files, priority=400)  # before Sphinx copies what is to be downloaded
    app.connect("doctree-read", link_quotations)
    app.connect("doctree-read", link_entries)
    app.connect("html-collect-pages", file_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
