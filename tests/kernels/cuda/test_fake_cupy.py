"""What CuPy refuses while a stream captures, the module in its place refuses too."""

import numpy as np
import pytest


@pytest.fixture
def capture(fake):
    """capture(call): the graph of what call() does."""

    def captured(call):
        stream = fake.cuda.Stream(non_blocking=True)
        stream.begin_capture(fake.cuda.runtime.streamCaptureModeRelaxed)
        try:
            call()
        finally:
            graph = stream.end_capture()
        return graph

    return captured


@pytest.fixture
def a(fake):
    """The numbers 0 to 15, (4, 4)."""
    return fake.array(np.arange(16, dtype=np.float32).reshape(4, 4))


def test_products_are_those_of_cublas_which_cannot_be_captured(fake, capture, a):
    plain = fake.asnumpy(a)
    for product in (
        lambda a: a @ a,
        lambda a: a.dot(a),
        lambda a: fake.dot(a, a),
        lambda a: fake.matmul(a, a),
        lambda a: fake.tensordot(a, a, axes=1),
        lambda a: fake.einsum("ij,jk->ik", a, a),
        lambda a: np.matmul(a, a),
    ):
        assert (fake.asnumpy(product(a)) == plain @ plain).all()
        with pytest.raises(NotImplementedError, match="calling cuBLAS API during stream capture"):
            capture(lambda product=product: product(a))


@pytest.mark.parametrize("index", [[2, 0], np.array([2, 0]), (slice(None), [2, 0]), (np.array([True, False] * 2),)])
def test_an_index_that_is_copied_to_the_gpu_cannot_be_captured(fake, capture, a, index):
    assert (fake.asnumpy(a[index]) == fake.asnumpy(a)[index]).all()
    with pytest.raises(RuntimeError, match="H2D transfers are disallowed"):
        capture(lambda: a[index])
    with pytest.raises(RuntimeError, match="H2D transfers are disallowed"):
        capture(lambda: a.__setitem__(index, 0))


def test_an_index_that_is_there_can_be_captured(fake, capture, a):
    there, y = fake.array(np.array([2, 0])), fake.zeros((2, 4), np.float32)
    graph = capture(lambda: y.__setitem__(slice(None), a[there]))
    graph.launch()
    assert (fake.asnumpy(y) == fake.asnumpy(a)[[2, 0]]).all()
    capture(lambda: (a[1], a[1:3, ..., None], a[np.int64(1), 2])).launch()


def test_more_than_eight_small_arrays_of_one_dtype_are_joined_by_addresses_that_cannot_be_captured(fake, capture, a):
    for join in (fake.concatenate, fake.stack):
        capture(lambda join=join: join([a] * 8)).launch()
        capture(lambda join=join: join([a] * 8 + [a.astype(np.float64)])).launch()
        assert len(join([a] * 9)) in (9, 36)
        with pytest.raises(RuntimeError, match="H2D transfers are disallowed"):
            capture(lambda join=join: join([a] * 9))


def test_what_is_fetched_cannot_be_captured(fake, capture, a):
    for fetch in (lambda: a[0, 0].item(), lambda: float(a[0, 0]), lambda: fake.asnumpy(a)):
        with pytest.raises(RuntimeError, match="D2H transfers are disallowed"):
            capture(fetch)
    with pytest.raises(RuntimeError, match="H2D transfers are disallowed"):
        capture(lambda: fake.array(np.ones(3)))
