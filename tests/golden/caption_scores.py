"""Fills in the scores of tests/golden/caption_scores.json by pycocoevalcap, in an environment of its own:

pip install --target /tmp/pcec --no-deps pycocoevalcap==1.2
PYTHONPATH=/tmp/pcec python tests/golden/caption_scores.py

Captions are cut at spaces. The file is made once and then kept: tests compare with it, and fail without it.
"""

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".json")


def main() -> None:
    stored = json.loads(FILE.read_text())
    said = {number: [one["said"]] for number, one in enumerate(stored["captions"])}
    known = {number: one["references"] for number, one in enumerate(stored["captions"])}
    stored["made_by"] = f"pycocoevalcap {version('pycocoevalcap')}"
    for room, name in (("bleu", "Bleu"), ("rouge", "Rouge"), ("cider", "Cider")):
        scorer = getattr(import_module(f"pycocoevalcap.{room}.{room}"), name)()
        options = {"verbose": 0} if room == "bleu" else {}
        corpus, each = scorer.compute_score(known, said, **options)
        stored[room] = {"corpus": np.asarray(corpus).tolist(), "each": np.asarray(each).T.tolist()}
    FILE.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
