"""The digit pad: what it shows is what the engine computes of what was drawn, and nothing but drawings gets in."""

import base64
import http.client
import json
import socket
import sys
import threading

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, models, nn
from minicnn import functional as F
from minicnn.study import digit_pad
from minicnn.study.digit_pad import app as pad_app
from minicnn.study.digit_pad import reading

SIDE = 112
NASTY = '<img src=x onerror="document.title = 1">'


@pytest.fixture(scope="module")
def model():
    mc.seed(0)
    return models.lenet5()


@pytest.fixture(scope="module")
def server(model):
    """A pad on a port of its own, with a title and a class that would like to be markup."""
    reading.read(model, a_seven())  # kernels that are not compiled yet would keep a page waiting for half a minute
    server = pad_app.listen(model, NASTY, [*digit_pad.DIGITS[:9], "<b>9</b>"], 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def client(model):
    app = pad_app.make_app(model, "LeNet-5", digit_pad.DIGITS, 8028)
    return app.test_client()


def a_seven():
    """(112, 112) of 0 to 255."""
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[20:28, 30:80] = 255
    for row in range(28, 95):
        column = 76 - (row - 28) // 2
        drawing[row, column : column + 9] = 200
    return drawing


def scores(model, image):
    """The definition: the model's own answer to an image (28, 28, 1)."""
    with mc.no_grad():
        return model(mc.tensor(image[np.newaxis])).numpy()[0]


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def restored(picture):
    """The numbers that a picture holds, to a 255th of its range."""
    levels = np.frombuffer(base64.b64decode(picture["levels"]), np.uint8).reshape(picture["shown"])
    return picture["low"] + levels / 255 * (picture["high"] - picture["low"])


# Reading


def test_a_reading_is_the_models_own_answer(model):
    read = reading.read(model, a_seven())
    np.testing.assert_array_equal(read.image, data.normalized_digit(a_seven()))
    np.testing.assert_allclose(read.probabilities, softmax(scores(model, read.image)), rtol=1e-5)
    assert [(layer.name, layer.kind, layer.result.shape) for layer in read.layers] == [
        ("conv2d", "Conv2d", (28, 28, 6)),
        ("average_pooling2d", "AvgPool2d", (14, 14, 6)),
        ("conv2d_1", "Conv2d", (10, 10, 16)),
        ("average_pooling2d_1", "AvgPool2d", (5, 5, 16)),
        ("dense", "Linear", (120,)),
        ("dense_1", "Linear", (84,)),
        ("dense_2", "Linear", (10,)),
    ]
    x = mc.tensor(read.image[np.newaxis])
    for layer, module in zip(read.layers[:4], list(model.children())[:4], strict=True):
        x = module(x)
        np.testing.assert_allclose(layer.result, x.numpy()[0], rtol=1e-6)


def test_slopes_are_those_of_the_winners_score(model):
    """Against central differences in float64, at some pixels."""
    twin = models.lenet5().to(dtype="float64")
    twin.load_state_dict(model.state_dict())
    with mc.kernels.use("reference"):
        read = reading.read(twin, a_seven())
        winner, h = int(read.probabilities.argmax()), 1e-5
        for place in [(0, 0, 0), (5, 9, 0), (14, 14, 0), (27, 3, 0)]:
            above, below = read.image.astype(np.float64), read.image.astype(np.float64)
            above[place] += h
            below[place] -= h
            slope = (scores(twin, above)[winner] - scores(twin, below)[winner]) / (2 * h)
            np.testing.assert_allclose(read.slopes[place], slope, rtol=1e-5, atol=1e-9)


def test_the_model_is_left_as_it_was(model):
    model.train()
    before = model.state_dict()
    reading.read(model, a_seven())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("name", [name for name in models.names() if models.input_shape(name) == (28, 28, 1)])
def test_every_network_for_such_images_can_be_read(name):
    model = models.build(name)
    with mc.kernels.use("reference"):
        read = reading.read(model, a_seven())
        expected = softmax(scores(model.eval(), read.image))
    np.testing.assert_allclose(read.probabilities, expected, rtol=1e-4)
    assert len(read.layers) >= 4
    assert len({layer.name for layer in read.layers}) == len(read.layers)


def test_a_network_of_ones_own_that_computes_without_layers():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 5)
            self.head = nn.Linear(None, 10)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv(x)), 4)
            return F.softmax(self.head(x.reshape(len(x), -1)))

    read = reading.read(Own(), a_seven())
    assert [layer.name for layer in read.layers] == ["conv", "relu", "maxpool2d", "head", "softmax"]
    np.testing.assert_allclose(read.probabilities, read.layers[-1].result, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 7)), "with 10 scores, one for each of 0, 1, 2, .*, got 7"),
        (nn.Sequential(nn.Flatten(), nn.Linear(100, 10)), "refused images of shape"),
        (nn.Conv2d(1, 10, 28), r"computes scores \(1, K\) of one image, got \(1, 1, 1, 10\)"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_anything_is_served(model, said):
    with pytest.raises(ValueError, match=said):
        digit_pad.serve(model, "wrong")


def test_a_model_whose_training_diverged_is_refused():
    model = models.lenet5()
    next(model.parameters()).data[0] = np.nan
    with pytest.raises(ValueError, match="scores are not finite, did its training diverge"):
        digit_pad.serve(model, "wrong")


def test_a_port_that_is_taken_and_a_missing_flask(model, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 cannot be used .*: name another one"):
            digit_pad.serve(model, "LeNet-5", port=port)
    monkeypatch.setitem(sys.modules, "flask", None)
    monkeypatch.delitem(sys.modules, "minicnn.study.digit_pad.app")
    with pytest.raises(ImportError, match=r'needs Flask: pip install "minicnn\[study\]"'):
        digit_pad.serve(model, "LeNet-5")


# What the server says


def post(client, document, **changes):
    options = {"base_url": "http://127.0.0.1:8028", "content_type": "application/json", "data": document, **changes}
    return client.post("/read", **options)


def drawing(pixels):
    return json.dumps({"pixels": pixels})


def test_an_answer_holds_the_reading(client, model):
    answer = post(client, drawing(a_seven().ravel().tolist()))
    assert answer.status_code == 200
    read = reading.read(model, a_seven())
    np.testing.assert_allclose(answer.json["probabilities"], read.probabilities, rtol=1e-6)
    pairs = [(answer.json["image"], read.image), (answer.json["slopes"], read.slopes)]
    pairs += [(layer, read.layers[i].result) for i, layer in enumerate(answer.json["layers"])]
    assert len(pairs) == 9
    for picture, array in pairs:
        assert tuple(picture["shape"]) == array.shape
        assert (picture["low"], picture["high"]) == (pytest.approx(array.min()), pytest.approx(array.max()))
        np.testing.assert_allclose(restored(picture), array, atol=(array.max() - array.min()) / 500)


def test_of_many_maps_the_first_ones_are_sent():
    array = np.random.default_rng(0).normal(size=(3, 2, 100))
    picture = pad_app.picture(array)
    assert (picture["shape"], picture["shown"]) == ((3, 2, 100), (3, 2, 64))
    np.testing.assert_allclose(restored(picture), array[:, :, :64], atol=0.02)
    assert pad_app.picture(np.zeros(5000))["shown"] == (1024,)
    assert restored(pad_app.picture(np.array([np.nan, 1.0, 3.0, np.inf]))).tolist() == [1, 1, 3, 3]


def test_a_model_that_fails_at_a_drawing_says_so(model):
    class Moody(nn.Module):
        def forward(self, x):
            if x.data.sum() > 50:
                raise RuntimeError("too much ink")
            return x.reshape(len(x), -1)[:, :10]

    client = pad_app.make_app(Moody(), "moody", digit_pad.DIGITS, 8028).test_client()
    assert post(client, drawing(EMPTY)).status_code == 200
    answer = post(client, drawing([255] * (SIDE * SIDE)))
    assert (answer.status_code, answer.json) == (500, {"error": "too much ink"})


EMPTY = [0] * (SIDE * SIDE)
REFUSED = [
    (b"", 400, "expected JSON"),
    (b"{", 400, "expected JSON"),
    (b"\xff\xfe", 400, "expected JSON"),
    (b"[" * 100_000, 400, "expected JSON"),
    (b"[]", 400, 'expected an object {"pixels": [...]}'),
    (b"{}", 400, 'expected an object {"pixels": [...]}'),
    (json.dumps({"pixels": EMPTY, "more": 1}), 400, "nothing else in it"),
    (drawing(None), 400, "a list of numbers"),
    (drawing("0" * SIDE * SIDE), 400, "a list of numbers"),
    (drawing({"0": 0}), 400, "a list of numbers"),
    (drawing([*EMPTY[1:], "<b>"]), 400, "a list of numbers"),
    (drawing([*EMPTY[1:], None]), 400, "a list of numbers"),
    (drawing([*EMPTY[1:], True]), 400, "a list of numbers"),
    (drawing([*EMPTY[1:], [0]]), 400, "a list of numbers"),
    (drawing([]), 400, "expected 12544 pixels, 112 rows of 112, got shape (0,)"),
    (drawing(EMPTY[1:]), 400, "got shape (12543,)"),
    (drawing([*EMPTY, 0]), 400, "got shape (12545,)"),
    (drawing([*EMPTY[1:], float("nan")]), 400, "expected JSON"),
    (drawing([*EMPTY[1:], float("-inf")]), 400, "expected JSON"),
    (
        drawing([*EMPTY[1:], 0]).replace("0]", "1e999]"),
        400,
        "expected pixels from 0 (paper) to 255 (ink), got 0 to inf",
    ),
    (drawing([*EMPTY[1:], 256]), 400, "got 0 to 256"),
    (drawing([*EMPTY[1:], -1]), 400, "got -1 to 0"),
    (drawing([*EMPTY[1:], 10**400]), 400, "an integer that no float can hold"),
    (b" " * 200_000, 413, "exceeds the capacity limit"),
]


@pytest.mark.parametrize(("document", "status", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_drawing_is_refused_in_a_sentence(client, document, status, said):
    answer = post(client, document)
    assert answer.status_code == status
    assert said in answer.json["error"]


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/read", {"method": "GET"}, 405),
        ("/read", {"method": "PUT"}, 405),
        ("/", {"method": "POST"}, 405),
        ("/nowhere", {}, 404),
        ("/static/../app.py", {}, 404),
        ("/static/%2e%2e/app.py", {}, 404),
        ("/read", {"method": "POST", "content_type": "text/plain", "data": drawing(EMPTY)}, 415),
        ("/read", {"method": "POST", "data": drawing(EMPTY)}, 415),
        ("/", {"base_url": "http://evil.example:8028"}, 403),
        ("/", {"base_url": "http://127.0.0.1:8029"}, 403),
        ("/", {"base_url": "http://127.0.0.1"}, 403),
        ("/", {"headers": {"Host": "127.0.0.1:8028.evil.example"}}, 403),
        ("/", {"headers": {"Origin": "http://evil.example"}}, 403),
        ("/", {"headers": {"Origin": "null"}}, 403),
        ("/read", {"method": "OPTIONS", "headers": {"Origin": "http://evil.example"}}, 403),
    ],
)
def test_other_requests_are_refused_in_a_sentence(client, path, options, status):
    answer = client.open(path, **{"base_url": "http://127.0.0.1:8028", **options})
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert len(answer.json["error"]) > 10


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_its_own_names_are_welcome(client, name):
    origin = f"http://{name}:8028"
    answer = post(client, drawing(EMPTY), base_url=origin, headers={"Origin": origin})
    assert answer.status_code == 200
    page = client.get("/", base_url=origin)
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]


def said_to(server, request):
    """The whole answer to bytes that are sent through a socket."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET / HTTP/1.1", "Host: evil.example"], 403),
        (["GET / HTTP/1.1"], 403),
        (["DELETE /read HTTP/1.1", "Host: {own}"], 405),
        (["POST /read HTTP/1.1", "Host: {own}", "Content-Type: application/json", "Content-Length: 99999999"], 413),
        (["POST /read HTTP/1.1", "Host: {own}", "Content-Type: application/json", "Content-Length: 50"], 400),
        (["POST /read HTTP/1.1", "Host: {own}", "Content-Type: application/json", "Content-Length: many"], 400),
        (["POST /read HTTP/1.1", "Host: {own}", "Content-Type: application/json", "Transfer-Encoding: chunked"], 400),
    ],
)
def test_refused_through_a_real_socket_too(server, lines, status, capfd):
    head = "\r\n".join(lines).format(own=f"127.0.0.1:{server.port}")
    answer = said_to(server, f"{head}\r\n\r\n".encode())
    assert answer.split()[1] == str(status)
    assert json.loads(answer.partition("\r\n\r\n")[2])["error"]
    assert "Traceback" not in "".join(capfd.readouterr())
    assert not server.socket._closed


def test_nonsense_does_not_end_the_server(server, capfd):
    for request in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 70_000, b""):
        assert "Traceback" not in said_to(server, request)
    assert "Traceback" not in "".join(capfd.readouterr())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()


def test_it_listens_on_this_machine_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


# The page


@pytest.fixture
def pad(web_page, server):
    """The page, and what it has asked the server."""
    web_page.asked = []
    web_page.on("request", lambda request: web_page.asked.append(request) if request.method == "POST" else None)
    web_page.goto(f"http://127.0.0.1:{server.port}/")
    return web_page


def stroke(page, *points):
    """A line with the mouse through points in [0, 1] of the pad."""
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=2)
    page.mouse.up()


def settled(page):
    """Wait until the newest drawing has been answered."""
    page.wait_for_selector('.answer[aria-busy="false"]')


def shares(page):
    bars = page.locator("#probabilities li")
    return [
        float(share) for share in bars.evaluate_all("bars => bars.map(bar => bar.style.getPropertyValue('--share'))")
    ]


SEVEN = [(0.25, 0.25), (0.7, 0.25), (0.55, 0.5), (0.42, 0.85)]
ONE = [(0.5, 0.2), (0.5, 0.8)]


@pytest.mark.parametrize("points", [SEVEN, ONE])
def test_the_bars_are_the_engines_prediction_of_what_was_drawn(pad, model, points):
    stroke(pad, *points)
    settled(pad)
    pixels = np.array(pad.asked[-1].post_data_json["pixels"]).reshape(SIDE, SIDE)
    for x, y in points:  # what is sent is what was drawn, the right way up
        assert pixels[round(y * SIDE), round(x * SIDE)] == 255
    assert pixels[5, 5] == 0
    expected = softmax(scores(model, data.normalized_digit(pixels.astype(np.uint8))))
    np.testing.assert_allclose(shares(pad), expected, rtol=1e-4)
    winner = int(expected.argmax())
    assert pad.locator("#probabilities .winner .number").inner_text() == f"{100 * expected[winner]:.1f} %"
    assert pad.locator("#verdict").inner_text() == f"It reads {[*digit_pad.DIGITS[:9], '<b>9</b>'][winner]}"
    assert pad.locator("#rows li").count() == 7
    assert pad.locator("#rows b").all_inner_texts()[:2] == ["conv2d", "average_pooling2d"]
    grey = painted(pad, "image")[:, :, 0] / 255
    np.testing.assert_allclose(grey, data.normalized_digit(pixels.astype(np.uint8))[:, :, 0], atol=1 / 255)
    assert len(np.unique(painted(pad, "slopes").reshape(784, 4), axis=0)) > 50


def painted(page, canvas):
    """The colours of a canvas, (28, 28, 4)."""
    code = f"[...byId('{canvas}').getContext('2d').getImageData(0, 0, 28, 28).data]"
    return np.array(page.evaluate(code)).reshape(28, 28, 4)


def test_it_reads_while_one_draws(pad):
    """Before the pen is lifted there are answers already."""
    box = pad.locator("#pad").bounding_box()
    pad.mouse.move(box["x"] + 100, box["y"] + 60)
    pad.mouse.down()
    pad.get_by_text("It reads").wait_for()
    settled(pad)
    first = shares(pad)
    pad.mouse.move(box["x"] + 250, box["y"] + 200, steps=5)
    settled(pad)
    assert shares(pad) != first
    pad.mouse.up()


def test_clear(pad):
    for clear in (pad.get_by_role("button", name="Clear").click, lambda: pad.keyboard.press("Escape")):
        stroke(pad, *ONE)
        settled(pad)
        assert pad.locator("#layers").is_visible()
        asked = len(pad.asked)
        clear()
        settled(pad)
        assert pad.locator("#verdict").inner_text() == "Nothing drawn yet"
        assert shares(pad) == [0] * 10
        assert not pad.locator("#layers").is_visible()
        assert not any(pad.evaluate("pixels()"))
        assert len(pad.asked) == asked


def test_the_keyboard_draws(pad):
    pad.keyboard.press("Tab")
    assert pad.evaluate("document.activeElement.id") == "pad"
    for key in ["ArrowUp"] * 8:
        pad.keyboard.press(key)
    settled(pad)
    assert not pad.asked  # the pen is up
    pad.keyboard.press(" ")
    for key in ["ArrowDown"] * 16:
        pad.keyboard.press(key)
    settled(pad)
    pixels = np.array(pad.asked[-1].post_data_json["pixels"]).reshape(SIDE, SIDE)
    assert pixels[SIDE // 4 : 3 * SIDE // 4, SIDE // 2].min() == 255  # a line through the middle
    assert pad.locator("#verdict").inner_text().startswith("It reads")
    pad.keyboard.press("Tab")
    pad.keyboard.press("Enter")  # the button
    settled(pad)
    assert pad.locator("#verdict").inner_text() == "Nothing drawn yet"


def test_a_finger_draws_and_the_page_fits_a_phone(chromium, server):
    page = chromium.new_page(viewport={"width": 390, "height": 800}, has_touch=True, color_scheme="dark")
    page.goto(f"http://127.0.0.1:{server.port}/")
    box = page.locator("#pad").bounding_box()
    page.touchscreen.tap(box["x"] + 80, box["y"] + 80)
    settled(page)
    assert page.locator("#verdict").inner_text().startswith("It reads")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.close()


def test_names_and_refusals_are_text_and_never_markup(pad):
    assert pad.locator("h1").inner_text() == NASTY
    assert pad.title() == f"Digit pad: {NASTY}"
    assert pad.locator("#probabilities .name").all_inner_texts()[9] == "<b>9</b>"
    pad.evaluate("void (answerTo = async () => { throw new Error('<i>as text</i>'); })")
    stroke(pad, *ONE)
    settled(pad)
    assert pad.locator("#fault").inner_text() == "<i>as text</i>"
