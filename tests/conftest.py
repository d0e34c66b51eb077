"""What all tests share: the rooms in which an operation runs, a browser that opens pages, and the report at the end."""

import resource
import shutil
from collections import defaultdict

import pytest
from real_gpu import RealGpu

import minicnn as mc
from minicnn import kernels
from minicnn.kernels.cuda import _launch

# On the emulator the kernels alone are tested, in tests/kernels/cuda: what is built on them is the same everywhere.
ROOMS = [*kernels.ROOMS, *(["cuda"] if mc.cuda_available() else [])]


@pytest.fixture(params=ROOMS)
def every_room(request, monkeypatch):
    """NumPy arrays are served by this room."""
    if request.param == "cuda":
        monkeypatch.setattr(kernels, "ROOMS", ROOMS)
        monkeypatch.setattr(_launch, "gpu", RealGpu())
    with kernels.use(request.param):
        yield request.param


@pytest.fixture
def processor_seconds():
    """processor_seconds(call): how long processors worked in the processes that call() starts and waits for.

    User and system time: other work on the machine does not change it much.
    """

    def measure(call):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    return measure


@pytest.fixture(scope="session")
def chromium():
    """A headless browser: the machine's own Chromium, driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox does not start for root, as in a container; the pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def web_page(chromium):
    """An empty page, which may read files and this machine's servers; what it complains of fails the test."""
    page, complaints = chromium.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    here = ("file:", "data:", "blob:", "about:", "http://127.0.0.1")
    page.on("request", lambda request: None if request.url.startswith(here) else complaints.append(request.url))
    yield page
    page.close()
    assert not complaints


def pytest_terminal_summary(terminalreporter):
    """What NVIDIA's compiler made of the CUDA kernels, where tests have asked it."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    kernels = defaultdict(list)
    for report in reports:
        for architecture, taken in (value for name, value in report.user_properties if name == "cuda_kernels"):
            kernels[architecture].extend(map(tuple, taken))
    if kernels:
        terminalreporter.section("CUDA kernels")
    for architecture, taken in sorted(kernels.items()):
        (most, _, name), local = max(taken), sum(local for _, local, _ in taken)
        terminalreporter.line(
            f"{architecture}: {len(taken)} kernels compiled, up to {most} registers of a thread ({name}), "
            f"{local} bytes of local memory in all"
        )
