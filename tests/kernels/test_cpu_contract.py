"""What holds for every kernel of the cpu room: inputs, results, threads."""

import os
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from agreement import DTYPES, call, converted, split
from numpy.testing import assert_allclose, assert_array_equal
from test_reference_contract import CALLS, LAYOUTS, convert

from minicnn import kernels
from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import _jit

EVERY_CALL = pytest.mark.parametrize(
    ("name", "arguments"), CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)]
)


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    before = _jit._threads
    yield
    kernels.set_threads(before)


def read_only(arguments):
    for a in arguments:
        if isinstance(a, np.ndarray):
            a.setflags(write=False)
    return arguments


@EVERY_CALL
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_are_those_of_the_reference_and_fresh_and_inputs_are_untouched(name, arguments, dtype):
    given = convert(arguments, dtype)
    before = [np.copy(a) if isinstance(a, np.ndarray) else a for a in given]
    results = call(cpu, name, given)
    tolerance = {np.float32: 1e-5, np.float64: 1e-12}[dtype]
    for result, expected in zip(results, call(reference, name, converted(given, np.float64)), strict=True):
        assert type(result) is np.ndarray
        assert result.dtype == (np.int32 if result.dtype.kind == "i" else dtype)
        assert result.shape == expected.shape
        assert result.flags.writeable
        assert result.flags.c_contiguous
        assert not any(np.shares_memory(result, a) for a in given if isinstance(a, np.ndarray))
        assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
    for i, result in enumerate(results):
        assert not any(np.shares_memory(result, other) for other in results[:i])
    for a, b in zip(given, before, strict=True):
        if isinstance(a, np.ndarray):
            assert_array_equal(a, b)


@EVERY_CALL
@pytest.mark.parametrize("layout", ["transposed", "backwards", "every second"])
def test_the_memory_layout_changes_no_bit(name, arguments, layout):
    plain = call(cpu, name, convert(arguments, np.float32))
    # A single number has no layout, and NumPy's helpers would turn it into a row of one.
    other = call(
        cpu, name, read_only(convert(arguments, np.float32, lambda a: LAYOUTS[layout](a) if a.ndim else a.copy()))
    )
    for a, b in zip(plain, other, strict=True):
        assert_array_equal(a, b)
        assert b.flags.c_contiguous


@EVERY_CALL
def test_broadcast_views_are_welcome(name, arguments):
    """Arrays whose first axis repeats one element with a stride of 0."""

    def repeat_first(a):
        return np.broadcast_to(a[:1], a.shape) if isinstance(a, np.ndarray) and a.ndim else a

    views = [repeat_first(a) for a in convert(arguments, np.float64)]
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in views]
    for a, b in zip(call(cpu, name, views), call(cpu, name, copies), strict=True):
        assert_array_equal(a, b)


@EVERY_CALL
def test_the_bits_do_not_depend_on_the_number_of_threads_and_repeat(name, arguments):
    given = convert(arguments, np.float32)
    results = []
    for parts in (1, 1, 2, 3, 50):
        with split(parts):
            results.append(call(cpu, name, given))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def enlarged(arguments):
    """The same call with 300 times the samples, where that is plain to do: each array of a batch repeated."""
    first = next(a for a in arguments if isinstance(a, np.ndarray))
    batch = len(first) if first.ndim else None
    grown = []
    for a in arguments:
        if isinstance(a, np.ndarray) and a.ndim in (3, 4) and len(a) == batch:
            a = np.concatenate([a] * 300)
        elif isinstance(a, tuple) and len(a) == 4 and a[0] == batch:
            a = (300 * batch, *a[1:])
        grown.append(a)
    return grown


LONG = np.random.default_rng(0).random((3, 26_667)) + 0.1  # no multiple of a vector, nor are its halves and thirds
LONG_CALLS = [
    ("relu_forward", (LONG[0] - 0.5,)),
    ("relu_backward", (LONG[0], LONG[1] - 0.5)),
    ("relu6_forward", (20 * LONG[0] - 5,)),
    ("relu6_backward", (LONG[0], 20 * LONG[1] - 5)),
    ("tanh_forward", (LONG[0],)),
    ("tanh_backward", (LONG[0], LONG[1])),
    ("sigmoid_forward", (LONG[0],)),
    ("sigmoid_backward", (LONG[0], LONG[1])),
    ("mean_squared_error_forward", (LONG[0], LONG[1])),
    ("mean_squared_error_backward", (np.array(0.7), LONG[0], LONG[1])),
    ("half_squared_error_backward", (np.array(0.7), LONG[0], LONG[1])),
    ("cross_entropy_backward", (np.array(0.7), LONG.T.copy(), LONG.T.copy())),
    ("bias_backward", (LONG.T.copy(),)),
    ("softmax_forward", (LONG.T.copy(),)),
    ("batch_norm_forward", (LONG.T.copy(), LONG[0, :3], LONG[1, :3], 1e-5, LONG.T - 1, "relu")),
    ("batch_norm_backward", (LONG.T.copy(), LONG.T + 1, *(LONG[:, :3]), LONG[0, 3:6], 1e-5, "relu")),
    ("batch_norm_inference_forward", (LONG.T.copy(), *(LONG[:, :3]), LONG[0, 3:6], 1e-5, None, None)),
    ("local_response_norm_forward", (LONG.T.copy(), 2, 0.5, 0.75, 2.0)),
    ("local_response_norm_backward", (LONG.T.copy(), LONG.T + 1, 2, 0.5, 0.75, 2.0)),
]


@pytest.mark.parametrize(("name", "arguments"), LONG_CALLS, ids=[c[0] for c in LONG_CALLS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bits_of_long_arrays_do_not_depend_on_where_the_shares_end(name, arguments, dtype):
    """The last numbers of a share may be done by other code than whole vectors: they must always be the same ones."""
    given = convert(arguments, dtype)
    results = []
    for parts in (1, 2, 3, 7, 400):
        with split(parts):
            results.append(call(cpu, name, given))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


BATCHES = [c for c in CALLS if isinstance(c[1][0], np.ndarray) and c[1][0].ndim == 4]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core")
@pytest.mark.parametrize(("name", "arguments"), BATCHES, ids=[f"{i}-{c[0]}" for i, c in enumerate(BATCHES)])
def test_one_and_two_real_threads_give_the_same_bits(name, arguments):
    given = convert(enlarged(arguments), np.float32)
    results = []
    for threads in (1, 2, 2):
        kernels.set_threads(threads)
        results.append(call(cpu, name, given))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    expected = call(reference, name, converted(given, np.float64))
    for a, b in zip(results[0], expected, strict=True):
        # A sum over the batch is 300 times what it was, and so is its error.
        assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1, abs(b).max()))


def test_set_threads_bounds_what_a_kernel_may_use():
    asked = []
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        kernels.set_threads(threads)
        asked.append((_jit.threads_for(0), _jit.threads_for(1 << 40)))
    assert asked == [(1, n) for n in range(1, numba.config.NUMBA_NUM_THREADS + 1)]
    with pytest.raises(ValueError, match="threads expected"):
        kernels.set_threads(0)
    with pytest.raises(ValueError, match="threads expected"):
        kernels.set_threads(numba.config.NUMBA_NUM_THREADS + 1)


def work(seed, wrong, rounds):
    """A few kernels on arrays of one's own, compared with what they gave to a single caller."""
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((4, 20, 20, 3)).astype(np.float32), rng.standard_normal((3, 3, 3, 8)).astype(np.float32)
    where = (1, 1), ((1, 1), (1, 1)), (1, 1), 1, "implicit_gemm"

    def once():
        y = cpu.conv2d_forward(x, w, None, *where, None)
        dw = cpu.conv2d_backward_weight(y, x, w.shape, *where)
        pooled, _ = cpu.max_pool2d_forward(y, (2, 2), (2, 2), ((0, 0), (0, 0)), False)
        return y, dw, pooled, cpu.relu_forward(pooled), cpu.bias_backward(y)

    expected = [a.copy() for a in once()]
    for _ in range(rounds):
        if any(not np.array_equal(a, b) for a, b in zip(once(), expected, strict=True)):
            wrong.append(seed)


def run_callers(rounds):
    wrong = []
    callers = [threading.Thread(target=work, args=(seed, wrong, rounds)) for seed in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return wrong


def test_several_python_threads_may_call_kernels_at_once():
    assert run_callers(rounds=60) == []


LAYER = """
import sys
sys.path.insert(0, {folder!r})
import numba
from test_cpu_contract import run_callers
assert run_callers(rounds=60) == []
print(numba.threading_layer())
"""


def test_several_python_threads_may_call_kernels_where_numba_has_only_its_own_pool():
    """Numba ends the process when two callers meet in its workqueue: so they must take turns."""
    script = LAYER.format(folder=os.path.dirname(__file__))
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["workqueue"]


FORK = """
import os, threading
import numpy as np
from minicnn.kernels import cpu
from minicnn.kernels.cpu import _jit
x = np.ones((64, 64, 64, 8), np.float32)
cpu.relu_forward(x)
with _jit._turn:  # as a thread holds it while its kernel runs
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    else:
        waiting = threading.Thread(target=cpu.relu_forward, args=(x,), daemon=True)
        waiting.start()
        waiting.join(20)
        os._exit(waiting.is_alive())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_a_kernel_runs_waits_for_nobody():
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", FORK], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
