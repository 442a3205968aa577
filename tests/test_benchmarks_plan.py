"""The benchmark of planning and going on, run small."""

import subprocess
import sys
import time

import pytest

from benchmarks.plan import SHARD_ROWS, measure_plan, measure_resume, wait_for_shard


def test_a_plan_is_made_and_its_tasks_go_through_the_engine(ray_cluster, tmp_path):
    figures = measure_plan(tmp_path, 12 * SHARD_ROWS + 1, 12)
    assert figures["simulated_shards"] == 12
    parts = ("listing_seconds", "tower_seconds", "enrol_seconds", "first_task_seconds")
    assert figures["plan_seconds"] == pytest.approx(sum(figures[name] for name in parts), abs=0.3)
    assert figures["driver_peak_mb"] > 100
    assert abs(figures["driver_growth_mb"]) < 500


@pytest.mark.slow
def test_going_on_is_timed_to_the_first_new_shard(ray_cluster, tmp_path):
    figures = measure_resume(tmp_path, 16 * SHARD_ROWS, 14 * SHARD_ROWS)
    assert figures["resume_shards"] == 2
    assert min(figures["resume_seconds"], figures["resume_seconds_on_cluster"]) > 1


def test_a_run_that_commits_nothing_is_no_measurement(tmp_path):
    run = subprocess.Popen([sys.executable, "-c", ""])
    run.wait()
    with pytest.raises(RuntimeError, match="no new shard"):
        wait_for_shard(tmp_path, 0, run, time.perf_counter())
