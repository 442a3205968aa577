"""Captions of a few videos and images in the forms in which data sets are distributed."""

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


def write_coco(path: Path, texts: Texts) -> Path:
    """COCO's captions_*.json, of images named by a number."""
    images = [
        {
            "license": 4,
            "file_name": name,
            "coco_url": f"http://images.cocodataset.org/train2017/{name}",
            "height": 427,
            "width": 640,
            "date_captured": "2013-11-14 17:02:52",
            "flickr_url": "http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg",
            "id": int(Path(name).stem.rpartition("_")[2]),
        }
        for name in texts
    ]
    pairs = [(image["id"], text) for image in images for text in texts[image["file_name"]]]
    annotations = [
        {"image_id": image, "id": 100 + number, "caption": text} for number, (image, text) in enumerate(pairs)
    ]
    info = {"description": "COCO 2017 Dataset", "year": 2017, "contributor": "COCO Consortium"}
    path.write_text(json.dumps({"info": info, "licenses": [], "images": images, "annotations": annotations}))
    return path


def write_karpathy(path: Path, texts: Texts, splits: Mapping[str, str], folder: str = "") -> Path:
    """dataset_coco.json with a folder, dataset_flickr30k.json without one."""
    images = [
        {
            **({"filepath": folder, "cocoid": number} if folder else {}),
            "sentids": [],
            "filename": name,
            "imgid": number,
            "split": splits[name],
            "sentences": [
                {"tokens": text.lower().split(), "raw": text, "imgid": number, "sentid": place}
                for place, text in enumerate(texts[name])
            ],
        }
        for number, name in enumerate(texts)
    ]
    path.write_text(json.dumps({"images": images, "dataset": "coco" if folder else "flickr30k"}))
    return path


def write_flickr(path: Path, texts: Texts) -> Path:
    """results.csv with bars, or results_20130124.token with numbers."""
    bars = path.suffix == ".csv"
    form = "{}| {}| {}" if bars else "{}#{}\t{}"
    lines = ["image_name| comment_number| comment"] if bars else []
    lines += [
        form.format(name, n, text) for name, captions in texts.items() for n, text in enumerate(captions)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_didemo(path: Path, texts: Texts) -> Path:
    """train_data.json: an object for every description, not sorted by video."""
    pairs = [(place, name, text) for name, captions in texts.items() for place, text in enumerate(captions)]
    values = [
        {
            "num_segments": 6,
            "description": text,
            "dl_link": "https://www.flickr.com/video_download.gne?id=1",
            "times": [[place, place], [0, 1]],
            "video": name,
            "annotation_id": number,
        }
        for number, (place, name, text) in enumerate(sorted(pairs))
    ]
    path.write_text(json.dumps(values))
    return path
