"""A rank that test_exchange.py starts: what its exchanges gave goes into the folder named on the command line."""

import sys

import numpy as np
from test_exchange import parts, y_and_dx

import minicnn as mc
from minicnn.distributed.exchange import exchange_channels, join_channels

communicator = mc.distributed.init(timeout=30.0)
xs, weights = parts((3, 5), (2, 40, 40))
x, dy = xs[communicator.rank], weights[communicator.rank]
np.savez(
    f"{sys.argv[1]}/{communicator.rank}.npz",
    *y_and_dx(lambda x: exchange_channels(x, communicator), x, dy),
    *y_and_dx(lambda x: exchange_channels(x, communicator, reach=2), x, dy[..., : 5 + 2 * communicator.rank]),
    *y_and_dx(lambda x: join_channels(x, communicator), x, weights[0]),
)
