"""The exercises and their grader: the engine's kernels pass, typical mistakes do not, and nothing a student writes
breaks the grader."""

import ast
import re
import runpy
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import minicnn as mc

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "exercises"
EXERCISES = ["convolution", "pooling", "batch_norm", "softmax_cross_entropy", "adadelta"]


@pytest.fixture(scope="module")
def running():
    """examples/exercises/grading/running.py."""
    sys.path.insert(0, str(FOLDER))
    try:
        from grading import running
    finally:
        sys.path.remove(str(FOLDER))
    return running


@pytest.fixture
def verdicts(running):
    """verdicts(exercise, student): {title: verdict} of the tests whose title begins so, in this process."""

    def call(exercise, student, beginning=""):
        tests = [test for test in running.tests_of(exercise) if running.title(test).startswith(beginning)]
        results = [running.run_test(test, student, FOLDER) for test in tests]
        assert len({result.title for result in results}) == len(results)
        return {result.title: result.verdict for result in results}

    return call


# The engine's own kernels, under the simpler arguments of the exercises.


def engine(kernels):
    def both(number):
        return (number, number)

    def around(number):
        return (both(number), both(number))

    def conv2d_backward_input(dy, w, x_shape, stride, padding):
        return kernels.conv2d_backward_input(dy, w, x_shape, both(stride), around(padding), (1, 1), 1, "auto")

    def conv2d_backward_weight(dy, x, w_shape, stride, padding):
        return kernels.conv2d_backward_weight(dy, x, w_shape, both(stride), around(padding), (1, 1), 1, "auto")

    def max_pool2d_backward(dy, index, x_shape, kernel_size, stride):
        index = index.astype(np.int32)
        return kernels.max_pool2d_backward(dy, index, x_shape, both(kernel_size), both(stride), around(0))

    def avg_pool2d_backward(dy, x_shape, kernel_size, stride):
        return kernels.avg_pool2d_backward(dy, x_shape, both(kernel_size), both(stride), around(0), False)

    def batch_norm_backward(dy, x, gamma, mean, var, eps):
        return kernels.batch_norm_backward(dy, x, gamma, np.zeros_like(gamma), mean, var, eps, None)

    def cross_entropy_backward(dloss, logits, labels):
        p = kernels.softmax_forward(logits)
        return kernels.cross_entropy_backward(np.asarray(dloss, logits.dtype), p, labels)

    def adadelta_update(w, dw, square_average, update_average, lr, rho, eps):
        kernels.adadelta_update([w], [dw], [square_average], [update_average], lr, rho, eps, 0.0)

    conv2d_backward_bias = kernels.bias_backward
    return types.SimpleNamespace(**locals())


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("room", mc.kernels.ROOMS)
def test_the_engines_own_kernels_pass(verdicts, exercise, room):
    with mc.kernels.use(room):
        found = verdicts(exercise, engine(mc.kernels.room(np.zeros(1))))
    assert set(found.values()) == {"pass"}, found


# What a student may write, right but for one place.

ANSWERS = {
    "convolution": """
        import numpy as np

        def conv2d_backward_input(dy, w, x_shape, stride, padding):
            (N, H, W, C), (KH, KW, _, O), (_, OH, OW, _), P = x_shape, w.shape, dy.shape, padding
            dx = np.zeros((N, H + 2 * P, W + 2 * P, C), dy.dtype)
            for kh in range(KH):
                for kw in range(KW):
                    rows, columns = places(kh, OH, stride), places(kw, OW, stride)
                    dx[:, rows, columns] += dy @ w[kh, kw].T
            return dx[:, P : P + H, P : P + W]

        def conv2d_backward_weight(dy, x, w_shape, stride, padding):
            (KH, KW, C, O), (_, OH, OW, _), P = w_shape, dy.shape, padding
            x = np.pad(x, ((0, 0), (P, P), (P, P), (0, 0)))
            dw = np.zeros(w_shape, dy.dtype)
            for kh in range(KH):
                for kw in range(KW):
                    rows, columns = places(kh, OH, stride), places(kw, OW, stride)
                    dw[kh, kw] = x[:, rows, columns].reshape(-1, C).T @ dy.reshape(-1, O)
            return dw

        def conv2d_backward_bias(dy):
            return dy.sum(axis=(0, 1, 2))

        def places(k, out, stride):
            return slice(k, k + (out - 1) * stride + 1, stride)
        """,
    "pooling": """
        import numpy as np

        def max_pool2d_backward(dy, index, x_shape, kernel_size, stride):
            dx = np.zeros(x_shape, dy.dtype)
            for n, oh, ow, c in np.ndindex(dy.shape):
                kh, kw = divmod(index[n, oh, ow, c], kernel_size)
                dx[n, oh * stride + kh, ow * stride + kw, c] += dy[n, oh, ow, c]
            return dx

        def avg_pool2d_backward(dy, x_shape, kernel_size, stride):
            K = kernel_size
            dx = np.zeros(x_shape, dy.dtype)
            for n, oh, ow, c in np.ndindex(dy.shape):
                h, w = oh * stride, ow * stride
                dx[n, h : h + K, w : w + K, c] += dy[n, oh, ow, c] / K**2
            return dx
        """,
    "batch_norm": """
        import numpy as np

        def batch_norm_backward(dy, x, gamma, mean, var, eps):
            m = x.size // x.shape[3]
            std = np.sqrt(var + eps)
            x_hat = (x - mean) / std
            dbeta = dy.sum(axis=(0, 1, 2))
            dgamma = (dy * x_hat).sum(axis=(0, 1, 2))
            dx = gamma / std * (dy - dbeta / m - x_hat * dgamma / m)
            return dx, dgamma, dbeta
        """,
    "softmax_cross_entropy": """
        import numpy as np

        def cross_entropy_backward(dloss, logits, labels):
            N = len(logits)
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
            p[np.arange(N), labels] -= 1
            return dloss * p / N
        """,
    "adadelta": """
        import numpy as np

        def adadelta_update(w, dw, square_average, update_average, lr, rho, eps):
            g = dw
            square_average[...] = rho * square_average + (1 - rho) * g**2
            delta = np.sqrt(update_average + eps) / np.sqrt(square_average + eps) * g
            update_average[...] = rho * update_average + (1 - rho) * delta**2
            w -= lr * delta
        """,
}

# (exercise, what stands above, what a student wrote, the beginning of the title of a test that must fail)
MISTAKES = [
    ("convolution", "+= dy @", "= dy @", "dx: windows of 3 x 3 that overlap"),
    ("convolution", "w[kh, kw].T", "w[KH - 1 - kh, KW - 1 - kw].T", "dx: by hand"),
    ("convolution", "dy @ w[kh, kw].T", "dy @ w[kh, kw]", "dx: two images, two channels, two filters"),
    ("convolution", "return dx[:, P : P + H, P : P + W]", "return dx", "dx: padding 1"),
    ("convolution", "return dx[:, P : P + H, P : P + W]", "return dx[:, :H, :W]", "dx: padding 1"),
    ("convolution", "(N, H + 2 * P, W + 2 * P, C), dy.dtype", "(N, H + 2 * P, W + 2 * P, C)", "dx and dw: float32"),
    ("convolution", "dw = np.zeros(w_shape, dy.dtype)", "dw = np.zeros(w_shape)", "dx and dw: float32"),
    ("convolution", "slice(k, k + (out - 1) * stride + 1, stride)", "slice(k, k + out)", "dx: stride 2"),
    ("convolution", "slice(k, k + (out - 1) * stride + 1, stride)", "slice(k, k + out)", "dw: stride 2"),
    ("convolution", "@ dy.reshape(-1, O)", "@ dy.reshape(-1, O) / len(x)", "dw: three images"),
    ("convolution", "x[:, rows, columns].reshape(-1, C).T @ dy.reshape(-1, O)",
     "x[0, rows, columns].reshape(-1, C).T @ dy[0].reshape(-1, O)", "dw: three images"),
    ("convolution", "dw[kh, kw] = x", "dw[KH - 1 - kh, KW - 1 - kw] = x", "dw: by hand"),
    ("convolution", "(P, P), (P, P), (0, 0)))", "(P, P), (P, P), (0, 0)), 'edge')", "dw: padding 1"),
    ("convolution", "dy.sum(axis=(0, 1, 2))", "dy.mean(axis=(0, 1, 2))", "db: a bias is added"),
    ("convolution", "dy.sum(axis=(0, 1, 2))", "dy[0].sum(axis=(0, 1))", "db: two images"),
    ("convolution", "dy.sum(axis=(0, 1, 2))", "dy.sum(axis=0)", "db: a bias is added"),
    ("pooling", "c] += dy[n, oh, ow, c]\n", "c] = dy[n, oh, ow, c]\n", "max: by hand, a cell that wins in two"),
    ("pooling", "+ kh, ow", "+ kw, ow", "max: by hand, one window"),
    ("pooling", "kh, kw = divmod", "kw, kh = divmod", "max: by hand, one window"),
    ("pooling", "oh * stride + kh", "oh * kernel_size + kh", "max: windows of 3 x 3"),
    ("pooling", "+= dy[n, oh, ow, c] / K**2", "= dy[n, oh, ow, c] / K**2", "average: windows of 3 x 3"),
    ("pooling", "/ K**2", "", "average: by hand"),
    ("pooling", "/ K**2", "/ K", "average: by hand"),
    ("pooling", "h, w = oh * stride, ow * stride", "h, w = oh * K, ow * K", "average: windows of 3 x 3"),
    ("pooling", "dx = np.zeros(x_shape, dy.dtype)", "dx = np.zeros(x_shape)", "max and average: float32"),
    ("batch_norm", "(dy - dbeta / m - x_hat * dgamma / m)", "dy", "dx against the slopes"),
    ("batch_norm", "- x_hat * dgamma / m", "", "dx against the slopes"),
    ("batch_norm", "- dbeta / m", "", "dx is 0 where dy is the same"),
    ("batch_norm", "dx = gamma / std", "dx = 1 / std", "by hand"),
    ("batch_norm", "m = x.size // x.shape[3]", "m = x.size // x.shape[3] - 1", "by hand"),
    ("batch_norm", "m = x.size // x.shape[3]", "m = len(x)", "dx against the slopes"),
    ("batch_norm", "np.sqrt(var + eps)", "np.sqrt(var) + eps", "dx with eps = 1"),
    ("batch_norm", "np.sqrt(var + eps)", "np.sqrt(var)", "dx with eps = 1"),
    ("batch_norm", "np.sqrt(var + eps)", "(var + eps)", "dx against the slopes"),
    ("batch_norm", "(dy * x_hat)", "(dy * x)", "dgamma against"),
    ("batch_norm", "dbeta = dy.sum(axis=(0, 1, 2))", "dbeta = dy.sum(axis=0)", "dbeta against"),
    ("batch_norm", "return dx, dgamma, dbeta", "return dx, dbeta, dgamma", "by hand"),
    ("batch_norm", "return dx, dgamma, dbeta", "return dx", "by hand"),
    ("batch_norm", "x_hat = (x - mean) / std", "x -= mean; x_hat = x / std", "dx against"),
    ("softmax_cross_entropy", "/ N", "", "the loss is a mean"),
    ("softmax_cross_entropy", "/ N", "/ p.size", "by hand: one row of two"),
    ("softmax_cross_entropy", "dloss * p", "p", "dloss = 3"),
    ("softmax_cross_entropy", "dloss * p", "-dloss * p", "by hand: one row of two"),
    ("softmax_cross_entropy", "p[np.arange(N), labels] -= 1", "pass", "by hand: one row of two"),
    ("softmax_cross_entropy", "p[np.arange(N), labels] -= 1", "p[:, labels] -= 1", "the loss is a mean"),
    ("softmax_cross_entropy", "logits - logits.max(axis=1, keepdims=True)", "logits", "logits of 1000"),
    ("softmax_cross_entropy", "logits - logits.max(axis=1, keepdims=True)", "logits - logits.max()", "logits of 1000"),
    ("softmax_cross_entropy", "e.sum(axis=1, keepdims=True)", "e.sum()", "the loss is a mean"),
    ("adadelta", "np.sqrt(square_average + eps)", "(np.sqrt(square_average) + eps)", "by hand: the first step"),
    ("adadelta", "np.sqrt(update_average + eps)", "np.sqrt(update_average)", "by hand: the first step"),
    ("adadelta", "np.sqrt(update_average + eps) / ", "1 / ", "twenty steps"),
    ("adadelta", "square_average[...] = rho", "square_average = rho", "by hand: the first step"),
    ("adadelta", "update_average[...] = rho", "update_average = rho", "by hand: the first step"),
    ("adadelta", "w -= lr * delta", "w = w - lr * delta", "by hand: the first step"),
    ("adadelta", "w -= lr * delta", "w += lr * delta", "by hand: the first step"),
    ("adadelta", "w -= lr * delta", "w -= delta", "lr scales the step alone"),
    ("adadelta", "delta**2", "(lr * delta)**2", "lr scales the step alone"),
    ("adadelta", "rho * square_average + (1 - rho)", "(1 - rho) * square_average + rho", "by hand: rho = 3/4"),
    ("adadelta", "(1 - rho) * delta**2", "(1 - rho) * g**2", "by hand: the first step"),
    ("adadelta", "w -= lr * delta", "w -= lr * delta; return w", "by hand: the first step"),
    ("adadelta", "g = dw", "g = dw; g *= 1.5", "by hand: the first step"),
]  # fmt: skip


def student(text):
    module = types.ModuleType("student")
    exec(text, vars(module))
    return module


def answer(exercise):
    return re.sub(r"^ {8}", "", ANSWERS[exercise], flags=re.M)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_right_answer_passes(verdicts, exercise):
    assert set(verdicts(exercise, student(answer(exercise))).values()) == {"pass"}


@pytest.mark.parametrize(("exercise", "right", "wrong", "title"), MISTAKES)
def test_a_mistake_is_found(verdicts, exercise, right, wrong, title):
    text = answer(exercise)
    assert right in text
    assert set(verdicts(exercise, student(text.replace(right, wrong)), title).values()) == {"FAIL"}


def test_adadelta_that_updates_in_another_order_is_found(verdicts):
    """The average of the steps before the step."""
    lines = answer("adadelta").splitlines()
    place = next(i for i, line in enumerate(lines) if "delta = " in line)
    lines[place : place + 2] = [
        "    delta = g",
        lines[place + 1],
        lines[place],
    ]
    assert (
        verdicts("adadelta", student("\n".join(lines)))[
            "twenty steps of the paper's rho and eps, gradients of either sign"
        ]
        == "FAIL"
    )


# The blanks.


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_blank_names_the_engines_own_answer_and_holds_none(exercise):
    tree = ast.parse((FOLDER / f"{exercise}.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in functions:
        assert [type(part) for part in node.body] == [ast.Expr, ast.Raise]
    text = ast.get_docstring(tree)
    assert f"check.py {exercise}`" in text
    named = set()
    for path in re.findall(r"kernels/reference/\w+\.py", text):
        named |= {
            node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)
        }
    own = text[text.index("The engine's own") :]
    for name in re.findall(r"\w+_(?:backward|update)\w*|softmax_forward", own):
        assert name in named
    assert {node.name.replace("conv2d_backward_bias", "bias_backward") for node in functions} <= set(
        re.findall(r"\w+", own)
    )


# The grader, as a person runs it.


def check(*options, cwd=ROOT):
    command = [sys.executable, str(FOLDER / "check.py"), *map(str, options)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def graded(tmp_path):
    """graded(exercise, text): the lines about a file with that text, and the exit status."""

    def call(exercise, text, seconds=60):
        (tmp_path / f"{exercise}.py").write_bytes(text if isinstance(text, bytes) else text.encode())
        done = check(exercise, "--folder", tmp_path, "--seconds", seconds)
        assert "Traceback" not in done.stdout + done.stderr
        assert not done.stderr
        return done.stdout.splitlines(), done.returncode

    return call


def test_the_blanks_as_they_are():
    done = check()
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert not done.stderr
    assert lines[-1] == f"in all 0 of {sum('blank' in line for line in lines)} pass"
    assert not any("FAIL" in line or "  pass" in line for line in lines)
    assert [line for line in lines if line in EXERCISES] == EXERCISES
    assert max(map(len, lines)) <= 80


def test_a_right_answer_ends_with_status_0(graded):
    lines, status = graded("adadelta", answer("adadelta"))
    assert status == 0
    assert lines[-1] == "  6 of 6 pass"


def test_a_wrong_answer_shows_expected_and_got(graded):
    text = answer("convolution").replace("+= dy @", "= dy @").replace("return dw", "dw")
    lines, status = graded("convolution", text.replace("return dx[:, P : P + H, P : P + W]", "return dx"))
    assert "  pass   db: a bias is added at every place of one map" in lines
    place = lines.index("  FAIL   dx: by hand, a row of three cells and a filter of 1 x 2")
    assert [line.strip() for line in lines[place + 1 : place + 4]] == [
        "1 of 3 elements of dx are wrong, the first is",
        "dx[0, 0, 1, 0]: expected 35",
        "got 30",
    ]
    said = "\n".join(lines)
    assert "dx expected the shape (1, 4, 3, 2), got (1, 6, 5, 2)" in said
    assert "dw expected an array, got None: was `return` forgotten?" in said
    assert status == 1


def test_an_endless_loop_is_ended_and_the_other_tests_run(graded):
    """Even one that catches everything; and what the student prints is shown."""
    loop = "    print('so far')\n    while dy.itemsize == 4:\n        try: pass\n        except BaseException: pass\n"
    result = "    return dy.sum(axis=(0, 1, 2))"
    lines, status = graded("convolution", answer("convolution").replace(result, loop + result), 0.8)
    assert "so far" in lines
    place = lines.index("  FAIL   db: two images, three filters, float32")
    assert lines[place + 1].strip().startswith("no answer after 0.8 s, an endless loop? It was in line ")
    assert lines[place + 2].strip() in ("while dy.itemsize == 4:", "try: pass", "except BaseException: pass")
    assert lines[-1] == "  11 of 12 pass"
    assert status == 1


def test_a_file_that_hangs_and_one_that_ends_python(graded):
    lines, status = graded("adadelta", "while True: pass", 0.8)
    assert lines[2] == "  FAIL   no test can run: adadelta.py has a fault"
    assert lines[3].strip() == "no answer after 0.8 s, an endless loop? It was in line 1:"
    assert lines[-1] == "  0 of 6 pass"
    assert status == 1
    end = "K = kernel_size\n    if dy.dtype == np.float32: import os; os._exit(3)"
    lines, status = graded("pooling", answer("pooling").replace("K = kernel_size", end))
    place = lines.index("  FAIL   max and average: float32 in, float32 out")
    assert lines[place + 1].strip() == "Python ended without an answer, with status 3"
    assert lines[-1] == "  9 of 10 pass"
    assert status == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"def f(a, b, c)\n    return a", ["line 1: SyntaxError: expected ':'", "def f(a, b, c)", "^"]),
        (b"def f():\nreturn 1", ["line 2: IndentationError: expected an indented block", "return 1"]),
        (b"a = '\xff'", ["line 1: SyntaxError", "utf-8"]),
        (b"a = 1\0", ["null bytes"]),
        (b"x = 1\nimport no_such_thing", ["No module named 'no_such_thing'", "in line 2: import no_such_thing"]),
        (b"raise SystemExit", ["SystemExit", "in line 1: raise SystemExit"]),
    ],
)
def test_a_file_that_cannot_be_imported_says_where(running, tmp_path, text, said):
    path = tmp_path / "pooling.py"
    path.write_bytes(text)
    with pytest.raises(running.Unusable) as refused:
        running.load(path)
    for part in said:
        assert part in str(refused.value)
    assert "grading" not in str(refused.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "a = logits\n    return a.reshape(99)",
            ["ValueError: cannot reshape array", "in line 3: return a.reshape(99)"],
        ),
        ("return np.exp(logits)", ["NameError: name 'np' is not defined", "in line 2: return np.exp(logits)"]),
        ("return [[0.5, 0.5]]", ["dlogits expected an array, got a value of type list"]),
        ("return None", ["dlogits expected an array, got None: was `return` forgotten?"]),
        ("return logits[0]", ["dlogits expected the shape (1, 2), got (2,)"]),
        ("return logits.astype(int)", ["dlogits expected the dtype float64, got int64"]),
        ("return logits + float('nan')", ["expected -0.5", "got nan"]),
        ("labels[0] = 1", ["cross_entropy_backward wrote into its argument 3: work on an array of your own"]),
        ("import sys; sys.exit()", ["SystemExit", "in line 2: import sys; sys.exit()"]),
        ("return cross_entropy_backward(dloss, logits, labels)", ["RecursionError", "in line 2: return cross"]),
        ("raise NotImplementedError", []),
    ],
)
def test_a_fault_is_said_with_the_students_line(running, tmp_path, body, said):
    path = tmp_path / "softmax_cross_entropy.py"
    path.write_text(f"def cross_entropy_backward(dloss, logits, labels):\n    {body}\n")
    result = running.run_test(running.tests_of("softmax_cross_entropy")[0], running.load(path), path)
    assert result.verdict == ("FAIL" if said else "blank")
    for part in said:
        assert part in result.message
    assert "grading" not in result.message


def test_a_missing_function_and_other_arguments_are_said(running, tmp_path):
    path = tmp_path / "adadelta.py"
    for text, said in {
        "def adadelta(w): pass": "there is no function adadelta_update in the file",
        "adadelta_update = 3": "there is no function adadelta_update in the file",
        "def adadelta_update(w): pass": "TypeError: adadelta_update() takes 1 positional argument but 7 were given",
    }.items():
        path.write_text(text)
        result = running.run_test(running.tests_of("adadelta")[0], running.load(path), path)
        assert (result.verdict, result.message) == ("FAIL", said)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["convolutoin"], 2, "no exercise is called 'convolutoin': did you mean convolution"),
        (["pooling", "--seconds", "nan"], 2, "--seconds expected a number above 0, at most 3600, got nan"),
        (["pooling", "--folder", "nowhere"], 1, "there is no file"),
        (["--help"], 0, "which of convolution, pooling"),
    ],
)
def test_options(running, monkeypatch, capsys, options, status, said):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["check.py", *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / "check.py"), run_name="__main__")
    assert ended.value.code == status
    assert said in "".join(capsys.readouterr())
