"""The ranks that other tests run as threads keep the contract of a communicator."""

import numpy as np
import pytest
from threads import run_ranks


def test_sums_broadcasts_and_values_reach_every_rank():
    def work(communicator):
        x, y = np.full((2, 3), communicator.rank + 1.0), np.array([communicator.rank])
        requests = [communicator.start_all_reduce(x), communicator.start_broadcast(y, root=2)]
        for request in reversed(requests):
            request.wait()
        communicator.barrier()
        return x, y, communicator.gather({"rank": communicator.rank}), communicator.is_main

    for rank, (x, y, values, is_main) in enumerate(run_ranks(3, work)):
        assert (x == 1 + 2 + 3).all()
        assert y == [2]
        assert values == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
        assert is_main == (rank == 0)


def test_messages_come_in_the_order_in_which_they_were_sent():
    def work(communicator):
        partner = 1 - communicator.rank
        for i in range(3):
            communicator.start_send(np.array([10 * communicator.rank + i]), partner)
        received = np.zeros((3, 1), int)
        for request in reversed([communicator.start_receive(row, partner) for row in received]):
            request.wait()
        return received.ravel().tolist()

    assert run_ranks(2, work) == [[10, 11, 12], [0, 1, 2]]


def test_the_error_of_a_rank_ends_all():
    def work(communicator):
        if communicator.rank == 1:
            raise ValueError("no data")
        communicator.barrier()

    with pytest.raises(ValueError, match="no data"):
        run_ranks(3, work)


def test_a_rank_that_does_something_else_is_noticed():
    def unequal(communicator):
        communicator.all_reduce(np.zeros(2 + communicator.rank))

    with pytest.raises(AssertionError, match="a sum of different arrays"):
        run_ranks(2, unequal)

    def another_call(communicator):
        communicator.barrier() if communicator.rank else communicator.all_reduce(np.zeros(2))

    with pytest.raises(AssertionError, match="ranks make different calls"):
        run_ranks(2, another_call)

    def nothing(communicator):
        if communicator.rank == 0:
            communicator.barrier()

    with pytest.raises(TimeoutError, match="a gathering over 2 ranks was not done"):
        run_ranks(2, nothing, timeout=0.1)
