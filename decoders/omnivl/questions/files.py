"""Questions as data sets distribute them.

v2_OpenEnded_mscoco_val2014_questions.json  VQAv2's, of image 42: COCO_val2014_000000000042.jpg; ten answers
                                            each in v2_mscoco_val2014_annotations.json beside it (its test
                                            questions have none)
train_qa.json, val_qa.json, test_qa.json    MSRVTT-QA's: [{"video_id": 7010, "question": "...",
                                            "answer": "...", "category_id": 5, "id": 3}], of video7010
the same without category_id                MSVD-QA's, of vid1201, or of the name that youtube_mapping.txt
                                            beside it gives for vid1201
.json, .jsonl, .csv, .tsv                   any lines with a key (or path, video, image), a question, and an
                                            answer, or several that are all right (in JSON a list)
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from decoders.omnivl.questions.asked import Question, QuestionSet

NAMES = ("key", "path", "video", "image", "video_id", "video_name", "image_id", "file_name", "filename")
KINDS = ("kind", "type", "answer_type", "question_type")
FIRST_WORDS = ("what", "who", "how", "when", "where")
"""The kinds of MSRVTT-QA's and MSVD-QA's questions."""
MAPPING = "youtube_mapping.txt"


def read_questions(source: str, *, answers: str = "") -> QuestionSet:
    """The questions of a file, in its order.

    Args:
        source: one of the above. answers: VQAv2's annotations; by default those beside the questions.

    Raises:
        ValueError: no such file, a damaged one, lines without a clip or a question, questions of VQAv2 that
            its annotations do not answer.
    """
    path = Path(source).expanduser()
    values = _values(path)
    if isinstance(values, Mapping) and "questions" in values:
        found = tuple(_vqa(values, path, _annotations(path, answers)))
        people = True
    elif answers:
        raise ValueError(f"{path}: expected VQAv2's questions beside --answers {answers}, found another form")
    elif isinstance(values, list):
        names = _mapping(path)
        found = tuple(_line(value, path, names) for value in values)
        people = False
    else:
        raise ValueError(
            f"{path}: expected questions as VQAv2 has them, or a list of lines with a key and a question, "
            f"found {_short(values)}; write it so"
        )
    if not found:
        raise ValueError(f"{path}: expected questions, found none; write a line for each")
    return QuestionSet(name=path.name, questions=found, people=people)


def _values(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        if path.suffix.lower() in (".csv", ".tsv"):
            return list(_table(text, path))
        return json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected questions, found: {error}; correct the path") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: expected JSON, found a damaged file ({error}); restore it") from error


def _table(text: str, path: Path) -> Iterator[dict[str, str]]:
    lines = text.splitlines()
    reader = csv.reader(lines, delimiter="\t" if lines and "\t" in lines[0] else ",")
    header = [cell.strip().lower() for cell in next(reader, [])]
    for cells in reader:
        if cells and len(cells) != len(header):
            raise ValueError(
                f"{path}, line {reader.line_num}: expected {len(header)} cells as in the header, found "
                f"{len(cells)}; quote cells that hold a comma"
            )
        if cells:
            yield dict(zip(header, map(str.strip, cells), strict=True))


def _line(value: Any, path: Path, names: Mapping[str, str]) -> Question:
    """A question by itself, as in MSRVTT-QA, MSVD-QA or a table."""
    line = value if isinstance(value, Mapping) else {}
    name = next((line[key] for key in NAMES if line.get(key) not in (None, "")), None)
    text, said = line.get("question"), line.get("answer", line.get("answers", ()))
    answers = [said] if isinstance(said, str | int) else said or ()
    if not isinstance(name, str | int) or not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"{path}: expected lines with a key (or path, video, image, video_id) and a question, found "
            f"{_short(value)}; name the columns so"
        )
    if isinstance(name, int):
        name = f"video{name}" if "category_id" in line else f"vid{name}"
    first = text.split()[0].lower()
    kind = next((str(line[key]) for key in KINDS if line.get(key)), first if first in FIRST_WORDS else "")
    return Question(
        key=names.get(name, name),
        question=text.strip(),
        answers=tuple(str(answer).strip() for answer in answers if str(answer).strip()),
        kind=kind,
        id=str(line.get("id", line.get("question_id", ""))),
    )


def _mapping(path: Path) -> dict[str, str]:
    """MSVD's names of its videos by the numbers that its questions give them, where these are beside."""
    beside = path.parent / MAPPING
    pairs = [line.split() for line in beside.read_text().splitlines()] if beside.is_file() else []
    if any(len(pair) != 2 for pair in pairs if pair):
        odd = next(pair for pair in pairs if pair and len(pair) != 2)
        raise ValueError(f"{beside}: expected lines 'name vid1', found {' '.join(odd)!r}; correct the line")
    return {pair[1]: pair[0] for pair in pairs if pair}


def _annotations(path: Path, answers: str) -> dict[Any, Mapping[str, Any]] | None:
    """VQAv2's annotations by question; None where there are none."""
    beside = path.with_name(
        path.name.replace("OpenEnded_", "").replace("_questions.json", "_annotations.json")
    )
    where = Path(answers).expanduser() if answers else beside
    if not answers and (beside == path or not beside.is_file()):
        return None
    values = _values(where)
    lines = values.get("annotations") if isinstance(values, Mapping) else None
    if not isinstance(lines, list) or not all(isinstance(one, Mapping) for one in lines):
        raise ValueError(f"{where}: expected VQAv2's annotations, found {_short(values)}; correct the path")
    return {one.get("question_id"): one for one in lines}


def _vqa(
    values: Mapping[str, Any], path: Path, annotations: Mapping[Any, Mapping[str, Any]] | None
) -> Iterator[Question]:
    part = values.get("data_subtype")
    for one in values["questions"]:
        fields = ("image_id", "question", "question_id")
        if not isinstance(part, str) or not isinstance(one, Mapping) or any(f not in one for f in fields):
            raise ValueError(
                f"{path}: expected a data_subtype and questions with image_id, question and question_id, "
                f"found {_short(one)} of {part!r}; correct it"
            )
        said = {} if annotations is None else annotations.get(one["question_id"])
        answers = [] if said is None else said.get("answers", [])
        if said is None or not all(isinstance(text, Mapping) and "answer" in text for text in answers):
            raise ValueError(
                f"{path}: expected answers to each question in its annotations, found none to question "
                f"{one['question_id']}; give the annotations that belong to it"
            )
        yield Question(
            key=f"COCO_{part}_{int(one['image_id']):012d}.jpg",
            question=str(one["question"]).strip(),
            answers=tuple(str(text["answer"]) for text in answers),
            kind=str(said.get("answer_type", "")),
            id=str(one["question_id"]),
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
