"""A rank that fails ends the whole job within ten seconds, with its name, and leaves nothing running."""

import re

import pytest
from ranks import IS_MPICH, needs_mpi, run

pytestmark = needs_mpi
# All ranks meet, rank 1 fails, and the others wait for its part of a sum.
FAIL = """
ranks = distributed.init(timeout=60)
array = np.ones(3)
ranks.all_reduce(array)
if ranks.rank == 1:
    {failure}
ranks.all_reduce(array)
print("went on")
"""
NOT_ITS_PART = "rank 1 has ended its script without taking part in it"


def fail(failure, cwd, size=3):
    job = run(size, FAIL.format(failure=failure), cwd)
    assert job.status != 0
    assert job.seconds < 10
    assert "went on" not in job.output
    return job


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("raise ValueError('no such image')", "rank 1: ValueError: no such image"),
        ("np.empty(2**50)", "rank 1: MemoryError: Unable to allocate 8.00 PiB"),
        ("raise KeyboardInterrupt", "rank 1: KeyboardInterrupt"),
        ("import threading; threading.Thread(target=lambda: 1 / 0).start(); time.sleep(60)",
         "rank 1: ZeroDivisionError: division by zero"),
        ("ranks.abort('enough')", "rank 1: enough"),
    ],
)  # fmt: skip
def test_an_exception_ends_all_ranks_and_names_its_own(tmp_path, failure, said):
    job = fail(failure, tmp_path)
    assert job.said.startswith(said)
    assert "without a word" not in job.said


SAVED_AT_LAST = """
from minicnn import data, nn, optim
from minicnn.train import Callback

class Broken(Callback):
    def on_step_end(self, trainer, record):
        if ranks.rank == 1 and trainer.batch == 2:
            raise ValueError("no such image")

ranks = distributed.init(timeout=5)
mc.set_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
dataset = data.ArrayDataset(np.ones((32, 2, 2, 1), np.uint8), np.zeros(32, np.int64))
trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1), communicator=ranks, callbacks=[Broken()])
try:
    trainer.fit(data.DataLoader(dataset, 8, workers=1), 1, progress=False)
finally:
    trainer.save("kept")
"""


def test_an_error_is_said_before_what_the_script_then_does_together_with_the_others(tmp_path):
    """The others are in the middle of a step: `save` on rank 1 alone waits for them in vain."""
    job = run(2, SAVED_AT_LAST, tmp_path)
    assert job.status != 0
    assert job.said.splitlines()[0] == "rank 1: ValueError: no such image"


@pytest.mark.parametrize("number", ["KILL", pytest.param("SEGV", marks=pytest.mark.slow)])
def test_a_rank_that_is_killed_is_named(tmp_path, number):
    job = fail(f"import signal; os.kill(os.getpid(), signal.SIG{number})", tmp_path)
    ours, of_open_mpi = r"\(process \d+ on .*\) ended without a word: it was killed", r"with PID \d+ on .*\s+signal \d+"
    assert re.search(f"rank 1 {ours if IS_MPICH else of_open_mpi}", job.errors)
    assert job.said.count("rank") == int(IS_MPICH), "other ranks say nothing"


@pytest.mark.skipif(not IS_MPICH, reason="of other launchers it is their own matter for whom they wait")
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", r"rank 1 \(process \d+ on .*\) ended without a word: "),
        ("raise ValueError('no such image')", "rank 1: ValueError: no such image"),
    ],
)
def test_a_process_that_the_rank_has_forked_does_not_outlive_it(tmp_path, failure, said):
    fork = "import multiprocessing as m; m.get_context('fork').Process(target=time.sleep, args=(30,)).start()"
    job = fail(f"{fork}; {failure}", tmp_path)
    assert re.match(said, job.said)


@pytest.mark.parametrize("failure", ["sys.exit(3)", "sys.exit('train.py: no data')", "sys.exit()"])
def test_a_rank_that_ends_before_the_others_is_named(tmp_path, failure):
    job = fail(failure, tmp_path)
    assert f"RuntimeError: a sum of float64 (3,) over 3 ranks cannot be done: {NOT_ITS_PART}" in job.said
    assert "without a word" not in job.said


def test_a_rank_that_hangs_runs_into_the_timeout_which_names_what_was_waited_for(tmp_path):
    code = "ranks = distributed.init(timeout=3)\nif ranks.rank: time.sleep(60)\nranks.gather(7)"
    job = run(2, code, tmp_path)
    assert job.status != 0
    assert "rank 0: TimeoutError: gathering a value from each of 2 ranks was not done within 3 s" in job.said


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        ("start_receive(array, 0)", "receiving float64 (1000000,) from rank 0 cannot be done: rank 0 has ended"),
        ("start_send(array, 0)", "sending float64 (1000000,) to rank 0 cannot be done: rank 0 has ended"),
        ("start_exchange(array, array.copy(), 0)", "exchanging float64 (1000000,) with rank 0 cannot be done: rank 0"),
    ],
)
def test_a_message_to_or_from_a_rank_that_has_ended_is_named(tmp_path, waits, said):
    code = f"ranks = distributed.init()\narray = np.ones(10**6)\nif ranks.rank: ranks.{waits}.wait()"
    assert f"rank 1: RuntimeError: {said}" in run(2, code, tmp_path).said


def test_a_rank_that_ends_after_its_part_is_no_failure(tmp_path):
    code = """
ranks = distributed.init()
array = np.full(10**5, 1.0)
if ranks.rank == 1:
    request = ranks.start_all_reduce(array)  # nobody waits for it here, but MPI ends only when it is done
    sys.exit()
time.sleep(1)
ranks.all_reduce(array)
print(array.sum())
"""
    job = run(2, code, tmp_path)
    assert (job.status, job.output, job.errors) == (0, "200000.0\n", "")


def test_a_message_that_nobody_waits_for_and_that_never_comes_is_named_at_the_end(tmp_path):
    code = "ranks = distributed.init()\nif ranks.rank: ranks.start_receive(np.ones(3), 0)"
    job = run(2, code, tmp_path)
    assert job.status != 0
    assert "rank 1: receiving float64 (3,) from rank 0 cannot be done: rank 0 has ended" in job.said


def test_a_rank_that_has_ended_waits_for_the_others_no_longer_than_the_timeout(tmp_path):
    job = run(2, "ranks = distributed.init(timeout=3)\nif ranks.is_main: time.sleep(60)", tmp_path)
    assert job.seconds < 10
    assert "rank 1: what the other ranks still do after this one's end was not done within 3 s" in job.said
    assert "(ranks that have not ended: [0])" in job.said
