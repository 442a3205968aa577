"""Real videos through the whole extraction: old codecs, new codecs, and damage; what came out of each.

    python -m benchmarks.real_videos FOLDER [--quick]

FOLDER holds videos that nobody here drew, for instance vtest.avi, Megamind.avi and tree.avi of Debian's
package `opencv-doc`. Each is extracted as it is and re-encoded to VP9, 10-bit HEVC and AV1; beside them lie
a truncated file, an empty one, random bytes and one with sound only. A copy's tokens are compared with
those of its original: the cosine of the pooled embeddings less their mean over the bank. --quick takes the
smallest video and a smaller tower.

Keys: `written`, `failed`, `worst_cosine` (of any copy to its original), `decoders`.
"""

import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from backbones.config import BackboneConfig
from benchmarks.result import write_result
from benchmarks.video_files import write_video
from pipeline.config import ExtractConfig
from pipeline.extract import extract
from storage import POOLED, Bank
from video import Sampling, ViewPlan

COPIES = {
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"}),
    "hevc10.mp4": (
        "libx265",
        "yuv420p10le",
        {"preset": "ultrafast", "crf": "24", "x265-params": "log-level=none"},
    ),
    "av1.mp4": ("libsvtav1", "yuv420p", {"preset": "12", "crf": "30"}),
}


def main(arguments: list[str]) -> None:
    """Encode, extract, compare, report."""
    os.environ["SVT_LOG"] = "1"  # errors only
    quick = "--quick" in arguments
    folders = [Path(argument) for argument in arguments if not argument.startswith("--")]
    if len(folders) != 1 or not folders[0].is_dir():
        raise SystemExit(
            "usage: python -m benchmarks.real_videos FOLDER [--quick]   (FOLDER: real videos, e.g. *.avi)"
        )
    with tempfile.TemporaryDirectory() as room:
        originals = sorted(folders[0].glob("*.avi"), key=lambda path: path.stat().st_size)
        prepare(originals[:1] if quick else originals, Path(room) / "videos")
        bank = extract(config_for(Path(room), quick), Console(stderr=True))
        report(bank)


def prepare(originals: list[Path], folder: Path) -> None:
    """The originals, their re-encoded copies, and the damaged files."""
    folder.mkdir()
    for original in originals:
        (folder / original.name).write_bytes(original.read_bytes())
        frames = list(read_frames(original))
        for ending, (codec, pixels, options) in COPIES.items():
            pictures = (frame.to_ndarray(format="rgb24") for frame in frames)
            write_video(folder / f"{original.stem}.{ending}", pictures, codec, pixels, options)
    whole = originals[0].read_bytes()
    (folder / "truncated.avi").write_bytes(whole[: len(whole) // 3])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(random.Random(0).randbytes(100_000))
    write_sound(folder / "sound.mp4")


def read_frames(path: Path) -> Iterator[av.VideoFrame]:
    """Every decoded frame."""
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def write_sound(path: Path) -> None:
    """A second of a tone, without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        for start in range(0, 48000, 1024):
            wave = np.sin(np.arange(start, start + 1024)[None] / 20).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def config_for(room: Path, quick: bool) -> ExtractConfig:
    """8 frames, evenly spread, under a ViT with random weights."""
    name = "ViT-B-32" if quick else "ViT-B-16"
    return ExtractConfig(
        source=str(room / "videos"),
        bank=str(room / "bank"),
        backbone=BackboneConfig(name=name, weights="random:0"),
        views=ViewPlan(sampling=Sampling(kind="tsn", frames=8)),
        shard_rows=4,
        encoders=1,
    )


def report(bank: Bank) -> None:
    """The table, and the figures."""
    lines = {line["key"]: line for line in bank.table.to_pylist()}
    table = Table("file", "outcome", "decoder", "frames", "size", "cosine to original", "reason")
    cosines: list[float] = []
    for key, line in sorted(lines.items()):
        original = lines.get(f"{key.split('.')[0]}.avi")
        shown = ""
        if line["outcome"] == "written" and original is not None and original is not line:
            cosines.append(cosine(bank, line["row"], original["row"]))
            shown = f"{cosines[-1]:.4f}"
        size = f"{line['width']} x {line['height']}" if line["width"] else ""
        table.add_row(
            key, line["outcome"], line["decoder"], str(line["num_frames"] or ""), size, shown, line["reason"]
        )
    Console(width=160).print(table)
    outcomes = [line["outcome"] for line in lines.values()]
    decoders = sorted({str(line["decoder"]) for line in lines.values() if line["decoder"]})
    failed = {key: line["reason"] for key, line in lines.items() if line["outcome"] == "failed"}
    figures = {"written": outcomes.count("written"), "failed": outcomes.count("failed"), "reasons": failed}
    write_result("real_videos", figures | {"worst_cosine": round(min(cosines), 4), "decoders": decoders})


def cosine(bank: Bank, row: int, other: int) -> float:
    """Cosine of two rows' pooled embeddings less the mean over the bank, mean over frames."""
    rows = bank.rows().tolist()
    pooled = bank.read(POOLED, rows).astype(np.float64)
    pooled -= pooled.mean((0, 1))
    one, two = pooled[rows.index(row)], pooled[rows.index(other)]
    return float((np.sum(one * two, -1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(two, axis=-1)).mean())


if __name__ == "__main__":
    main(sys.argv[1:])
