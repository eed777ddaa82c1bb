"""Ranks that MPI starts, MPICH's and Open MPI's: one hash of the whole state however many there are; and their deaths.

`make test-distributed` sets up the environments of the two, in the folder that CONVKIT_MPI names.
"""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convkit import available_isas

JOB = Path(__file__).with_name("job.py")
ENVIRONMENTS = Path(os.environ["CONVKIT_MPI"])
HANG = 60  # seconds after which a job hangs, one of which a rank has died too

# Open MPI wants to be told that it may run as root, and more ranks than there are cores.
USUAL = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PYTHONUNBUFFERED": "1",
}


def start(command, **environment):
    return subprocess.run(
        [str(word) for word in command],
        env=os.environ | USUAL | environment,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """What a run in one process, without MPI, has written; and its checkpoint."""
    path = tmp_path_factory.mktemp("alone") / "state"
    return start([sys.executable, JOB, "--checkpoint", path], CONVKIT_NUM_THREADS="1"), path


@pytest.fixture(scope="session")
def expected(alone):
    """The digest of that run."""
    return digests(alone[0], 1, "1")


@pytest.fixture(params=["mpich", "openmpi"])
def launch(request):
    """``launch(ranks, *options)`` starts the job, or another command, on so many ranks."""

    def started(ranks, *options, job=(JOB,), **environment):
        folder = ENVIRONMENTS / request.param / "bin"
        return start([folder / "mpiexec", "-n", ranks, folder / "python", *job, *options], **environment)

    return started


def digests(done, ranks, threads=r"\d+"):
    """What every rank has ended with, which has to be the same."""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = re.findall(rf"\[(\w{{64}}) {threads}\]", done.stdout)
    assert len(found) == ranks and len(set(found)) == 1, done.stdout
    return found[0]


def failed(done):
    """Whether the job ended with an error, and no rank came to the end of its training."""
    return done.returncode != 0 and not re.search(r"\[\w{64} ", done.stdout)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_one_hash_for_any_number_of_ranks_and_threads(launch, expected, ranks, threads):
    assert digests(launch(ranks, CONVKIT_NUM_THREADS=threads), ranks, threads) == expected


def test_shards_that_do_not_divide_by_the_ranks(launch, expected):
    assert digests(launch(3), 3) == expected


def test_ranks_divide_the_cores_that_they_share(launch):
    script = "import convkit; convkit.distributed.world(); print(f'[one {convkit.get_num_threads()}]')"
    clean = {"CONVKIT_NUM_THREADS": "", "OMP_NUM_THREADS": ""}
    each = max(1, len(os.sched_getaffinity(0)) // 4)
    found = re.findall(r"\[one (\d+)\]", launch(4, script, job=("-c",), **clean).stdout)
    assert len(found) == 4 and max(map(int, found)) <= each


@pytest.mark.parametrize("deed", ["kill", "kill_in_the_next_save"])
def test_a_rank_that_dies_ends_all_and_another_number_goes_on(launch, expected, deed, tmp_path):
    """At a random step, past the first checkpoint; from 4 ranks to 2."""
    path = tmp_path / "state"
    rank, step = 0 if deed == "kill_in_the_next_save" else random.randrange(4), random.randrange(4, 16)
    done = launch(4, "--checkpoint", path, "--at", rank, step, deed)
    assert failed(done), f"rank {rank}, step {step}: {done.stdout}"
    assert digests(launch(2, "--checkpoint", path, "--resume"), 2) == expected, f"rank {rank}, step {step}"


def test_control_c_on_one_rank_saves_and_stops_all(launch, expected, tmp_path):
    path = tmp_path / "state"
    done = launch(2, "--checkpoint", path, "--at", 1, 9, "interrupt")
    assert failed(done) and f"saved after step 10 to {path}" in done.stderr, done.stderr
    assert digests(launch(4, "--checkpoint", path, "--resume"), 4) == expected


@pytest.mark.parametrize("step", [5, -1], ids=["in fit", "before"])
def test_a_rank_that_raises_ends_all(launch, step):
    done = launch(4, "--at", 2, step, "fail")
    assert failed(done)
    assert "RuntimeError: no such thing" in done.stderr and "in fail\n" in done.stderr, done.stderr
    assert "convkit: rank 2 of 4 failed, and ends all" in done.stderr


def test_a_rank_that_leaves_ends_all(launch):
    """Where mpi4py has started the program, as docs/distributed.md says."""
    done = launch(2, "--at", 1, -1, "leave", job=("-m", "mpi4py", JOB))
    assert failed(done) and "no such file\n" in done.stderr, done.stderr


@pytest.mark.parametrize("start", [(), ("-m", "mpi4py")], ids=["python", "mpi4py"])
def test_a_rank_that_stays_after_all_ends_well(launch, expected, start):
    assert digests(launch(2, "--at", 1, -1, "leave_and_be_held", job=(*start, JOB)), 2) == expected


def test_another_instruction_set_on_one_rank(launch):
    best = available_isas()[-1]
    done = launch(2, "--isa", 1, "generic")
    message = f"ValueError: rank 1 must have the instruction set of rank 0, '{best}', got 'generic'"
    assert failed(done) and message in done.stderr, done.stderr


def test_a_torn_checkpoint_does_not_pass_for_whole(launch, alone, tmp_path):
    path, whole = tmp_path / "state", alone[1].read_bytes()
    path.write_bytes(whole[:-100] + bytes(100))  # as it is where the last page was never written
    done = launch(2, "--checkpoint", path, "--resume")
    message = f"{path} must be a checkpoint that convkit wrote: its digest must be"
    assert failed(done) and message in done.stderr, done.stderr


def test_a_full_disk_is_an_error_that_names_the_file(launch, tmp_path):
    path = tmp_path / "state"
    done = launch(2, "--checkpoint", path, "--at", 0, 6, "fill_the_disk")
    assert failed(done) and f"File too large: '{path}'" in done.stderr, done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


@pytest.fixture(scope="session")
def commanded(tmp_path_factory):
    """What `convkit train` writes in one process."""
    return the_command(lambda *words: start([sys.executable, *words]), tmp_path_factory.mktemp("one"))


def the_command(run, out):
    done = run(
        "-m", "convkit", "train", "--model", "linear", "--epochs", "2", "--shards", "3", "--validate", "--out", out
    )
    assert done.returncode == 0 and done.stdout.count("test accuracy: ") == 1, done.stderr
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".png"}


def test_the_command(launch, commanded, tmp_path):
    files = the_command(lambda *words: launch(2, job=words), tmp_path)
    assert files.keys() == {"checkpoint.safetensors", "weights.safetensors", "history.csv", "settings.json"}
    assert files == commanded
