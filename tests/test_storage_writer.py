"""Whatever order, crash or retry: the same work gives the same bank; and one run writes at a time."""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    Bank,
    BankBusy,
    BankError,
    BankWriter,
    CorruptShard,
    ListingConflict,
    ShardWriter,
    SpecMismatch,
    array_name,
    open_place,
)
from storage.commit import read_records
from storage.lease import STALE_SECONDS
from tests import killed_writer
from tests.small_banks import clip_line, row_values, small_spec, write_bank, write_shard


def test_a_bank_is_the_same_however_often_its_shards_are_written(tmp_path):
    spec = small_spec()
    digests = []
    for name, order in (("a", [0, 1]), ("b", [1, 0, 1])):
        with BankWriter(tmp_path / name, spec) as writer:
            writer.enrol([clip_line(number) for number in range(70)])
            for shard in order:
                write_shard(tmp_path / name, shard, writer=writer)
        digests.append(Bank(tmp_path / name).digest)
    assert digests[0] == digests[1]


def killed_writers(folder, *numbers):
    """Runs `tests.killed_writer`; (step, whether it died there, digest of the completed bank) per bank."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.killed_writer", str(folder), *map(str, numbers)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [(int(step), died == "True", digest) for step, died, digest in map(str.split, said.splitlines())]


def whole_digest(folder):
    killed_writer.write(folder)
    return Bank(folder).digest


def test_killed_at_some_steps_and_run_again_it_is_the_same_bank(tmp_path):
    found = killed_writers(tmp_path / "killed", 0, 120, 1, 2000)
    assert {digest for _, _, digest in found} == {whole_digest(tmp_path / "whole")}
    assert len(found) >= 4
    assert [died for _, died, _ in found] == [True] * (len(found) - 1) + [False]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_every_step_and_30_times_at_random_it_is_the_same_bank(tmp_path):
    expected = {whole_digest(tmp_path / "whole")}
    found = killed_writers(tmp_path / "every", 0, 1, 0, 5000)
    assert {digest for _, _, digest in found} == expected
    assert len(found) > 400
    assert not found[-1][1]
    assert {digest for _, _, digest in killed_writers(tmp_path / "random", 0, 19, 2, 19 * 15)} == expected


RACER = """
import sys, time
from storage import BankBusy
from tests.killed_writer import small_spec, BankWriter, clip_line, write_shard
path, start = sys.argv[1], float(sys.argv[2])
time.sleep(max(0, start - time.time()))
try:
    with BankWriter(path, small_spec(), shard_rows=2) as writer:
        writer.enrol([clip_line(number) for number in range(4)])
        for shard in (0, 1):
            if (0, shard) not in writer.records:
                write_shard(path, shard, writer=writer)
    print("won")
except BankBusy as error:
    assert "one run writes a bank at a time" in str(error), error
    print("refused")
"""


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_of_two_racing_writers_one_wins_and_nothing_is_lost(tmp_path, rounds):
    digests = set()
    for number in range(rounds):
        path = tmp_path / str(number)
        start = str(time.time() + 4)
        command = [sys.executable, "-c", RACER, str(path), start]
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        said = sorted(run.communicate()[0].strip() for run in runs)
        assert said in (["refused", "won"], ["won", "won"])  # the second may come when the first is done
        bank = Bank(path)
        assert len(bank.rows()) == 4
        assert not (path / "lease.json").exists()
        digests.add(bank.digest)
    assert len(digests) == 1


FULL_DISK = """
set -e
mkdir -p "$1" && mount -t tmpfs -o size=$2 none "$1"
cd "$3"
"$4" -m tests.full_disk "$1"
"""


def test_a_full_disk_is_said_and_leaves_nothing_half_done(tmp_path):
    shell = ["sh", "-c", FULL_DISK, "sh", str(tmp_path / "disk"), "400k", os.getcwd(), sys.executable]
    run = subprocess.run(
        ["unshare", "--mount", "--map-root-user", *shell], capture_output=True, text=True, check=False
    )
    if "unshare:" in run.stderr:
        pytest.skip(f"no mounts of one's own here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    *said, digest = run.stdout.splitlines()
    assert len(said) == 2
    for line in said:
        assert re.match(r"no room left for .*/bank/.*; what is committed is kept\. Make room and run", line)
    write_bank(tmp_path / "whole", 6, shard_rows=2)
    assert digest == Bank(tmp_path / "whole").digest


def test_rows_are_not_there_before_their_record(tmp_path):
    spec = small_spec()
    with BankWriter(tmp_path / "bank", spec) as writer:
        writer.enrol([clip_line(0)])
        with ShardWriter(tmp_path / "bank", 0, run=writer.run) as shard:
            shard.append(0, row_values(spec, 0))
        assert len(Bank(tmp_path / "bank").rows()) == 0
    assert not list((tmp_path / "bank").rglob(".*.tmp"))


def test_another_spec_is_refused_with_both_sides(tmp_path):
    write_bank(tmp_path / "bank", 1)
    with pytest.raises(SpecMismatch, match=r"frames: the bank has 3, asked for 4"):
        BankWriter(tmp_path / "bank", small_spec(frames=4))


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(BankError, match="no bank"):
        BankWriter(tmp_path, small_spec())


def test_new_clips_begin_at_a_fresh_shard_and_old_ones_keep_their_rows(tmp_path):
    path, spec = tmp_path / "bank", small_spec()
    write_bank(path, 3)
    with BankWriter(path, spec) as writer:
        assert writer.enrol([clip_line(number) for number in range(5)]) == 2
        write_shard(path, 1, writer=writer)
    table = Bank(path).table
    assert table["row"].to_pylist() == [0, 1, 2, 64, 65]
    assert table["key"].to_pylist() == [f"clips/{number:04d}.mp4" for number in range(5)]
    assert Bank(path).read(array_name(2, "out"), [65]).shape == (1, 3, 7, 16)


def test_a_label_keeps_its_class(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec()) as writer:
        writer.enrol([clip_line(0)])
        with pytest.raises(ListingConflict, match="label 0 is class 'class 0' in the bank but 'cat'"):
            writer.enrol([clip_line(8) | {"class_name": "cat"}])


def test_a_second_run_is_refused_while_the_first_lives(tmp_path):
    path = tmp_path / "bank"
    with BankWriter(path, small_spec()), pytest.raises(BankBusy, match=rf"process {os.getpid()} on"):
        BankWriter(path, small_spec())
    with BankWriter(path, small_spec()):
        pass


def test_a_dead_runs_lease_is_taken_over(tmp_path):
    path = tmp_path / "bank"
    code = (
        f"from tests.test_storage_writer import *\nBankWriter(Path({str(path)!r}), small_spec())\nos._exit(1)"
    )
    subprocess.run([sys.executable, "-c", "from pathlib import Path\n" + code], check=False)
    assert (path / "lease.json").exists()
    with BankWriter(path, small_spec()):
        pass


def test_a_lease_of_another_machine_is_believed_while_it_is_touched(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 1)
    lease = path / "lease.json"
    lease.write_text(
        json.dumps({"run": "elsewhere", "host": "node7", "pid": 1, "started": 1.0, "processes": "x"})
    )
    with pytest.raises(BankBusy, match="process 1 on node7"):
        BankWriter(path, small_spec())
    old = lease.stat().st_mtime - STALE_SECONDS - 1
    os.utime(lease, (old, old))
    with BankWriter(path, small_spec()):
        pass


def test_a_worker_whose_run_lost_the_lease_cannot_commit(tmp_path):
    path, spec = tmp_path / "bank", small_spec()
    with BankWriter(path, spec) as writer:
        writer.enrol([clip_line(0)])
        writer.run = "zombie"
        with pytest.raises(BankBusy, match="no longer holds"):
            write_shard(path, 0, writer=writer)
        writer.run = writer.lease.run
    assert not read_records(open_place(path))


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_values_that_fp16_cannot_hold_are_refused(tmp_path, value):
    path, spec = tmp_path / "bank", small_spec()
    with BankWriter(path, spec) as writer:
        writer.enrol([clip_line(0)])
        values = {name: array.astype(np.float32) for name, array in row_values(spec, 0).items()}
        values[array_name(2, "out")][0, 0, 0] = value
        with ShardWriter(path, 0, run=writer.run) as shard, pytest.raises(BankError, match="cannot hold"):
            shard.append(0, values)


def test_a_clip_keeps_its_labels(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec()) as writer:
        writer.enrol([clip_line(0)])
        with pytest.raises(
            ListingConflict, match=r"clips/0000.mp4 has .* 'train', 3\) in the bank but .* 'val', 3\)"
        ):
            writer.enrol([clip_line(0) | {"split": "val"}])


def test_another_shard_size_is_refused(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec(), shard_rows=4):
        pass
    with pytest.raises(SpecMismatch, match="has 4 rows a shard for good, asked for 8"):
        BankWriter(tmp_path / "bank", small_spec(), shard_rows=8)


def test_a_damaged_listing_is_an_error_and_leaves_no_lease(tmp_path):
    path, spec = tmp_path / "bank", small_spec()
    write_bank(path, 2)
    (path / "clips/00000.parquet").write_bytes(b"PAR1")
    for _ in range(2):
        with pytest.raises(CorruptShard, match=r"00000\.parquet is not the listing that was written"):
            BankWriter(path, spec)
    assert not (path / "lease.json").exists()


def test_a_dead_process_that_nobody_reaped_holds_no_lease(tmp_path):
    path = tmp_path / "bank"
    code = "import os, sys; from pathlib import Path; from tests.test_storage_writer import *;"
    code += "BankWriter(Path(sys.argv[1]), small_spec()); os._exit(1)"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)])
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    with BankWriter(path, small_spec()):
        pass
    child.wait()


@given(clips=st.integers(1, 150), views=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_every_clip_has_its_views_in_one_shard(tmp_path_factory, clips, views):
    spec = small_spec(views=views)
    with BankWriter(tmp_path_factory.mktemp("rows") / "bank", spec) as writer:
        writer.enrol([clip_line(number) for number in range(clips)])
        rows = np.asarray(writer.listing["row"])
        assert len(set(rows)) == clips
        assert (np.diff(rows) >= views).all()
        assert ((rows // writer.shard_rows) == ((rows + views - 1) // writer.shard_rows)).all()
