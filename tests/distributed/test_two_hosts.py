"""Two "hosts": network namespaces of this machine with a cable between them, and two ranks on each."""

import os
import shutil
import subprocess

import pytest
from ranks import needs_mpi, run

pytestmark = [needs_mpi, pytest.mark.slow]
# What mpiexec calls instead of ssh: options, the host, and the command to run there.
REMOTE = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
case $host in *.1) space={0};; *) space={1};; esac
exec ip netns exec $space /bin/sh -c "$*"
"""
WHERE = "[line.split()[3] for line in os.popen('ip -o -4 addr show scope global')]"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts(tmp_path):
    """mpiexec's words for the two hosts, and the name of the first."""
    spaces = [f"minicnn-{os.getpid()}-{number}" for number in (1, 2)]
    try:
        for space in spaces:
            ip("netns", "add", space)
        cables = [f"mc{os.getpid() % 10**6}{end}" for end in "ab"]
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for number, (space, cable) in enumerate(zip(spaces, cables, strict=True), 1):
            ip("link", "set", cable, "netns", space)
            ip("-n", space, "addr", "add", f"10.213.7.{number}/24", "dev", cable)
            ip("-n", space, "link", "set", cable, "up")
            ip("-n", space, "link", "set", "lo", "up")
        remote = tmp_path / "remote"
        remote.write_text(REMOTE.replace("{0}", spaces[0]).replace("{1}", spaces[1]))
        remote.chmod(0o755)
        words = ["-launcher", "ssh", "-launcher-exec", remote, "-iface", cables[0], "-hosts", "10.213.7.1,10.213.7.2"]
        yield spaces[0], [*words, "-ppn", "2"]
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    finally:
        for space in spaces if shutil.which("ip") else []:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def run_on(hosts, code, cwd):
    space, words = hosts
    return run(4, code, cwd, *words, before=["ip", "netns", "exec", space], UCX_TLS="tcp")


def test_ranks_on_two_hosts_have_one_sum(hosts, tmp_path):
    code = f"""
ranks = distributed.init(timeout=30)
array = np.full(10**6, ranks.rank + 1.0)
ranks.all_reduce(array)
places = ranks.gather({WHERE})
from minicnn.distributed.launching import place
if ranks.is_main:
    print(array.sum(), places, [place(os.environ).local_rank])
assert place(os.environ).local_rank == ranks.rank % 2
"""
    job = run_on(hosts, code, tmp_path)
    assert (job.status, job.errors) == (0, "")
    here, there = ["10.213.7.1/24"], ["10.213.7.2/24"]
    assert job.output.strip() == f"10000000.0 {[here, here, there, there]} [0]"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("raise ValueError('no such image')", "rank 3: ValueError: no such image"),
        ("os.kill(os.getpid(), 9)", "rank 3 (process "),
        ("sys.exit()", "rank 3 has ended its script without taking part in it"),
    ],
)
def test_a_failure_on_the_other_host_ends_the_job(hosts, tmp_path, failure, said):
    code = f"ranks = distributed.init()\nranks.barrier()\nif ranks.rank == 3: {failure}\nranks.barrier()"
    job = run_on(hosts, code, tmp_path)
    assert job.status != 0
    assert job.seconds < 10
    assert said in job.said
