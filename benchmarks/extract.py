"""How close an extraction comes to encoding alone: clips a second against a bare loop over frames in memory.

    python -m benchmarks.extract [--quick] [--precision fp32]

ViT-B/16 with random weights in bf16 (quick: ViT-S/32; fp32 is faster on CPUs without bf16 products), 8 frames
a clip, the last four blocks with their maps; drawn H.264 videos. On the CPU, one encoder a core, each with
one thread.

*Extraction* is the whole command's work on Ray: its clips a second are counted from the moment when every
encoder has committed a shard to the last commit, so that starting is left out and the end is not. *Bare* is
as many processes, each with the same tower, which encode the same frames again and again and drop the
result. What a bare loop does not do takes processor time as well: decoding the videos, and writing and
committing the rows, both measured alone, in one process, without Ray. So what an extraction could reach is

    seconds a clip = bare seconds a clip + (decoding + writing seconds a clip) / cores

Keys: `over_bare` (that over the extraction's), `clips_per_second`, `bare_clips_per_second`,
`decode_cpu_seconds`, `write_cpu_seconds` (a clip), `over_bare_alone` (without what is added).
"""

import argparse
import multiprocessing
import os
import time
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
from rich.console import Console

from backbones.config import BackboneConfig, Precision
from benchmarks.disk import work_folder
from benchmarks.result import print_figures, write_result
from benchmarks.video_files import write_video
from pipeline.config import ExtractConfig
from pipeline.extract import extract
from storage import Bank, BankWriter, ShardWriter, array_layouts
from video import Clip, Sampling, ViewPlan, decode_views

CLIPS, SHARD_ROWS, FRAMES, LENGTH = 40, 2, 8, 64
BATCH = 2
BARE_ROUNDS = 2
BARS = {"over_bare": 0.85}


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="An extraction against a bare encoding loop.")
    parser.add_argument("--quick", action="store_true", help="a smaller tower and fewer clips")
    parser.add_argument("--precision", choices=get_args(Precision), default="bf16", help="of the tower")
    arguments = parser.parse_args()
    name = "ViT-S-32" if arguments.quick else "ViT-B-16"
    figures = {"model": name, "precision": arguments.precision, **measure(name, arguments.precision)}
    print_figures("extraction against a bare loop", figures)
    ending = "-quick" * arguments.quick + f"-{arguments.precision}" * (arguments.precision != "bf16")
    write_result(f"extract{ending}", figures | {"bars": BARS})


def measure(name: str, precision: Precision, clips: int = CLIPS) -> dict[str, Any]:
    """All figures for one tower."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    with work_folder(None, clips * 4 * 10**7) as folder:
        (folder / "videos").mkdir()
        for number in range(clips):
            draw_video(folder / f"videos/{number:04d}.mp4", number)
        config = config_of(folder, name, precision)
        before = bare_seconds(config, cores)
        took, counted = extraction_seconds(config, cores)
        bare = (before + bare_seconds(config, cores)) / 2
        decode = decode_seconds(config)
        write = write_seconds(config, folder / "again")
    ours = took / counted
    return {
        "clips": clips,
        "over_bare": round((bare + (decode + write) / cores) / ours, 3),
        "over_bare_alone": round(bare / ours, 3),
        "clips_per_second": round(1 / ours, 3),
        "bare_clips_per_second": round(1 / bare, 3),
        "decode_cpu_seconds": round(decode, 4),
        "write_cpu_seconds": round(write, 4),
        "cores": cores,
    }


def extraction_seconds(config: ExtractConfig, encoders: int) -> tuple[float, int]:
    """Seconds from every encoder's first commit to the last, and the clips committed in them."""
    bank = extract(config, Console(file=StringIO()))
    if len(bank.rows()) != len(list(Path(config.source).iterdir())):
        raise ValueError("not every clip was written")
    times = sorted(path.stat().st_mtime for path in Path(config.bank, "shards").glob("*.json"))
    return times[-1] - times[encoders - 1], (len(times) - encoders) * SHARD_ROWS


def bare_seconds(config: ExtractConfig, processes: int) -> float:
    """Seconds a clip that as many processes need together, frames in memory."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    crew = [context.Process(target=bare_loop, args=(config, barrier, results)) for _ in range(processes)]
    for one in crew:
        one.start()
    each = [results.get(timeout=600) for _ in crew]
    for one in crew:
        one.join()
    return 1 / sum(1 / seconds for seconds in each)


def bare_loop(config: ExtractConfig, barrier: Any, results: Any) -> None:
    """One process: seconds a clip, after all have encoded a batch to get warm."""
    import torch

    from pipeline.encode import encode_rows
    from pipeline.request import build_spec, load_tower

    torch.set_num_threads(1)
    loaded = load_tower(config)
    spec, clip = build_spec(config, loaded), loaded.clip
    tower = clip.tower(spec.kept[0].token_blocks)
    layouts = list(array_layouts(spec))
    paths = sorted(Path(config.source).iterdir())[:BATCH]
    frames = np.stack([decode_views(Clip(key=p.name, path=str(p)), config.views).frames[0] for p in paths])
    encode_rows(tower, frames, layouts)
    barrier.wait()
    began = time.perf_counter()
    for _ in range(BARE_ROUNDS):
        encode_rows(tower, frames, layouts)
    results.put((time.perf_counter() - began) / BARE_ROUNDS / BATCH)
    barrier.wait()


def decode_seconds(config: ExtractConfig) -> float:
    """Processor time that decoding a clip takes."""
    paths = sorted(Path(config.source).iterdir())
    began = time.process_time()
    for path in paths:
        decode_views(Clip(key=path.name, path=str(path)), config.views)
    return (time.process_time() - began) / len(paths)


def write_seconds(config: ExtractConfig, again: Path) -> float:
    """Processor time that writing and committing a clip's rows takes: the bank's shards, once more."""
    bank, spent, rows = Bank(config.bank), 0.0, 0
    with BankWriter(again, bank.spec, shard_rows=bank.rows_per_shard) as writer:
        writer.enrol(bank.listing.drop_columns(["row"]))
        for (_, shard), record in list(bank.records.items())[:8]:
            lines = bank.facts_of(record).to_pylist()
            values = [{name: bank.read(name, [line["row"]])[0] for name in bank.layouts} for line in lines]
            began = time.process_time()
            with ShardWriter(writer.path, shard, run=writer.run) as file:
                for line, row in zip(lines, values, strict=True):
                    file.append(line["row"], row)
                file.commit(lines, {})
            spent += time.process_time() - began
            rows += len(lines)
    return spent / rows


def config_of(folder: Path, name: str, precision: Precision, size: int = 224) -> ExtractConfig:
    """An extraction of the folder's videos; `size` is the tower's, in pixels."""
    return ExtractConfig(
        source=str(folder / "videos"),
        bank=str(folder / "bank"),
        backbone=BackboneConfig(name=name, weights="random:0", precision=precision),
        views=ViewPlan(sampling=Sampling(kind="tsn", frames=FRAMES), size=size),
        shard_rows=SHARD_ROWS,
        batch_rows=BATCH,
    )


def draw_video(path: Path, seed: int) -> None:
    """A drifting texture, 320 x 240, H.264."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = (np.roll(texture, (2 * number, 3 * number), (0, 1)) for number in range(LENGTH))
    write_video(path, frames, "libx264", "yuv420p", {"preset": "veryfast"})


if __name__ == "__main__":
    main()
