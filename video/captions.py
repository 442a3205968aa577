"""Captions as data sets distribute them: which files are such, and the clips that they name.

    COCO, Karpathy's splits         video.caption_coco
    MSR-VTT, DiDeMo, pairs          video.caption_json
    Flickr30K, lists of ids         video.caption_tables

Such a file says what a video or image is called, not where it is: its clips have a name or id as key and no
path; `video.by_name` finds them. A name that comes in several lines is one clip with several captions, each
kept by itself. COCO's and DiDeMo's files are of one split each, which their names say.
"""

import re
from pathlib import Path

from video.caption_json import json_lines
from video.caption_lines import joined
from video.caption_tables import flickr_lines, has_ids, id_lines, is_flickr
from video.clip import Clip
from video.tables import is_table

SPLIT = re.compile(r"(?:captions_|image_info_)?(train|val|test)(?:20\d\d|_data)$")
"""Names of files that say the split: captions_train2017, image_info_test2017, val_data."""
JSON = (".json", ".jsonl")
TABLES = (".csv", ".tsv")
TEXTS = (*TABLES, ".txt", ".token")


def is_captions(source: str) -> bool:
    """True for a file with captions that names its clips without saying where they are."""
    path, suffix = Path(source), Path(source).suffix.lower()
    if suffix in JSON:
        return True
    if suffix not in TEXTS or not path.is_file():
        return False
    return is_flickr(path) or (suffix in TABLES and not is_table(source) and has_ids(path))


def read_captions(source: str) -> list[Clip]:
    """The clips that such a file names, with captions and splits, without paths, in the file's order.

    Raises:
        InputError: no such file, a damaged one, JSON of another form, a line without a name or caption.
    """
    path = Path(source)
    if path.suffix.lower() in JSON:
        lines = json_lines(path)
    else:
        lines = flickr_lines(path) if is_flickr(path) else id_lines(path)
    match = SPLIT.match(path.stem)
    return joined(lines, split=match[1] if match else "")
