"""What records say of vain attempts."""

from pipeline.decode_worker import DecodeOutcome, failure
from pipeline.outcomes import failed_attempts, failures, fresh_lines, unstorable
from pipeline.task import ShardTask
from video import DecodeError, Fault, Stage

EARLIER = [
    {
        "row": row,
        "attempt": 1,
        "error": "damaged",
        "stage": "decode",
        "message": "",
        "decoder": "pyav",
        "seconds": 1,
    }
    for row in (0, 2, 4)
]


def task_of(*rows: int) -> ShardTask:
    """A task that tries these clips of two views each again."""
    return ShardTask(
        frames=4,
        shard=0,
        lines=tuple({"row": row} for row in rows),
        attempts=((0, 1), (2, 1), (4, 1)),
        failures=tuple(EARLIER),
    )


def too_large() -> DecodeOutcome:
    """A failure with something that differs from run to run."""
    error = DecodeError("more than 4 GB", "a.mp4", error=Fault.TOO_MUCH_MEMORY)
    error.add_note("4.31 GB")
    return failure(error, seconds=2.00049)


def test_facts_have_what_is_the_same_in_every_run_and_records_the_rest():
    task = task_of(2)
    (line, frames), (other, _) = fresh_lines(task, [too_large()], views=2)
    assert frames is None
    assert (line["row"], other["row"]) == (2, 3)
    assert (line["reason"], line["error"], line["stage"]) == ("more than 4 GB", "too much memory", "decode")
    assert set(line) == {"row", "view", "outcome", "reason", "error", "stage"}
    found = failures(task, [too_large()], [line, other])
    assert found == [
        EARLIER[1],
        {
            "row": 2,
            "attempt": 2,
            "error": "too much memory",
            "stage": "decode",
            "message": "more than 4 GB; 4.31 GB",
            "decoder": "",
            "seconds": 2.0,
        },
    ]
    assert failed_attempts(task, [line, other], {2}) == {"2": 2}


def test_attempts_at_clips_that_were_not_tried_stay_and_those_at_written_ones_go():
    task = task_of(2)
    kept = {"row": 4, "view": 0, "outcome": "failed", "reason": "damaged"}
    written = {"row": 2, "view": 0, "outcome": "written", "reason": ""}
    assert failures(task, [DecodeOutcome(outcome="written")], [written, kept]) == [EARLIER[2]]


def test_one_view_that_cannot_be_stored_is_an_attempt_of_its_clip():
    task = task_of(2)
    lines = [{"row": 2 + view, "view": view, "outcome": "written", "decoder": "decord"} for view in range(2)]
    lines[1] = unstorable(lines[1], ValueError("values up to 1e6"))
    (_, entry) = failures(task, [DecodeOutcome(outcome="written", seconds=0.5)], lines)
    assert (entry["row"], entry["error"], entry["stage"]) == (2, Fault.UNSTORABLE, Stage.ENCODE)
    assert (entry["message"], entry["decoder"]) == ("encoding: values up to 1e6", "decord")
