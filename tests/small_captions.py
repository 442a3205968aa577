"""Annotations of a few videos in the forms in which MSR-VTT is distributed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Texts = Mapping[str, Sequence[str]]


def write_annotation(path: Path, texts: Texts, splits: Mapping[str, str]) -> Path:
    """The JSON file: videos with their splits, and a sentence for every caption."""
    videos = [
        {
            "category": 9,
            "url": "https://www.youtube.com/watch?v=9lZi22qLlEo",
            "video_id": name,
            "start time": 137.72,
            "end time": 149.44,
            "split": split,
            "id": number,
        }
        for number, (name, split) in enumerate(splits.items())
    ]
    pairs = [(name, text) for name, captions in texts.items() for text in captions]
    sentences = [
        {"caption": text, "video_id": name, "sen_id": number} for number, (name, text) in enumerate(pairs)
    ]
    info = {"contributor": "Microsoft MSM group", "year": "2016", "version": "1.0"}
    path.write_text(json.dumps({"info": info, "videos": videos, "sentences": sentences}))
    return path


def write_1k_a(path: Path, texts: Mapping[str, str], column: str = "sentence") -> Path:
    """The test list with a caption for each video."""
    lines = [f"key,vid_key,video_id,{column}"]
    lines += [f"ret{n},msr{name[5:]},{name},{text}" for n, (name, text) in enumerate(texts.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_ids(path: Path, names: Sequence[str]) -> Path:
    """A list of ids alone, as for training."""
    path.write_text("\n".join(["video_id", *names]) + "\n")
    return path
