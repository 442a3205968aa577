"""Are answers right? VQA's measure, and exact agreement.

VQA (arXiv 1505.00468) asks ten people. An answer is right to the share of min(those who gave it / 3, 1),
which is averaged over the ten sets of nine people, each leaving one out. Texts are compared after the
normalisation of its published evaluation, oddities included, since numbers would not compare without them:
the answer that is judged loses punctuation, articles and capitals, gets digits for words up to ten and
apostrophes in its contractions; those of people lose punctuation only, and that only where they disagree.

MSRVTT-QA and MSVD-QA have one answer a question; an answer is right if it is that one, but for capitals and
spaces.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from decoders.omnivl.questions.asked import Question

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
GROUPED = re.compile(r"\d,\d")
PERIOD = re.compile(r"\.(?!\d)")
ARTICLES = frozenset(("a", "an", "the"))
COUNTED = "zero one two three four five six seven eight nine ten"
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(COUNTED.split())}
SHORTENED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't
    he'd've he'd he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't
    must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
    somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
    something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
    they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
    who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
    y'all'd've you'd you'd've you'll you're you've
"""


def _without_an_apostrophe(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place, letter in enumerate(word) if letter == "'"]


CONTRACTIONS = {less: word for word in SHORTENED.split() for less in _without_an_apostrophe(word)} | {
    "somebody'd": "somebodyd"
}
"""What lacks an apostrophe, and what it stands for; the last is one of the oddities."""


def normalised(answer: str) -> str:
    """An answer as VQA judges it."""
    words = _unpunctuated(answer.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    kept = [word for word in (NUMBERS.get(word, word) for word in words) if word not in ARTICLES]
    return " ".join(CONTRACTIONS.get(word, word) for word in kept)


def _unpunctuated(text: str) -> str:
    """Signs vanish beside a space, or where digits are grouped by commas; else each leaves a space."""
    grouped, found = bool(GROUPED.search(text)), text
    for sign in PUNCTUATION:
        beside = f"{sign} " in text or f" {sign}" in text
        found = found.replace(sign, "" if beside or grouped else " ")
    return PERIOD.sub("", found)


def vqa_accuracy(said: str, answers: Sequence[str]) -> float:
    """How far an answer is that of several people, from 0 to 1. Raises ValueError for fewer than two."""
    if len(answers) < 2:
        raise ValueError(
            f"expected the answers of several people, found {len(answers)}; compare with one answer exactly"
        )
    people = [_unpunctuated(one) for one in answers] if len(set(answers)) > 1 else answers
    judged = normalised(said)
    alike = [one == judged for one in people]
    shares = [min((sum(alike) - one) / 3, 1.0) for one in alike]
    return sum(shares) / len(shares)


def exact_accuracy(said: str, answers: Sequence[str]) -> float:
    """1 if an answer is one of those that are right, else 0."""
    return float(_plain(said) in map(_plain, answers))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def accuracies(questions: Sequence[Question], said: Sequence[str], *, people: bool) -> Mapping[str, float]:
    """Mean accuracy of answers, under "all", and of each kind of question.

    Args:
        questions: those that were asked. said: an answer to each. people: whether theirs are those of several
            people (VQA), or each is right.

    Raises ValueError where there are no questions, or as many answers as questions are not given.
    """
    if not questions or len(questions) != len(said):
        raise ValueError(f"expected an answer to each of {len(questions)} questions, found {len(said)}")
    measure: Callable[[str, Sequence[str]], float] = vqa_accuracy if people else exact_accuracy
    found: dict[str, list[float]] = defaultdict(list)
    for one, answer in zip(questions, said, strict=True):
        share = measure(answer, one.answers)
        for kind in dict.fromkeys(("all", one.kind or "all")):
            found[kind].append(share)
    return {kind: sum(shares) / len(shares) for kind, shares in found.items()}
