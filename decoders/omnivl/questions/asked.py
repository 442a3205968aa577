"""Questions about images and videos, and the clips of a bank that they are about.

What a clip is called is looked for among a bank's keys by its name without folder and extension, the nearer
the better, as an extraction finds files. Clips that the bank has not are counted and named, since every
question that is not asked makes a score another one.
"""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

EXTENSION = re.compile(r"\.[A-Za-z0-9]{2,5}$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question about an image or a video."""

    key: str
    """The clip: as the file calls it, or, once found, its key in the bank."""
    question: str
    answers: tuple[str, ...] = ()
    """What people answered, or what is right; empty where it is not known."""
    kind: str = ""
    """The kind of its answer or question, as the file names it, else what, who, how, when or where."""
    id: str = ""
    """As the file numbers it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionSet:
    """Questions that are asked together."""

    name: str
    """Its file."""
    questions: tuple[Question, ...]
    people: bool
    """Whether answers are those of several people, to be weighed by VQA's measure; else each is right."""
    absent: tuple[str, ...] = ()
    """Clips that were not found, each once."""
    unasked: int = 0
    """Questions about these."""

    def among(self, keys: Iterable[str]) -> "QuestionSet":
        """The questions about some clips, under the keys that these have.

        Raises ValueError where none of the clips is there, or two are called alike.
        """
        known = _by_stem(keys)
        names = dict.fromkeys(one.key for one in self.questions)
        found = {name: key for name in names if (key := _nearest(name, known, self.name))}
        kept = tuple(replace(one, key=found[one.key]) for one in self.questions if one.key in found)
        if not kept:
            raise ValueError(
                f"{self.name}: expected clips of the bank, found none of {len(names)} by name (such as "
                f"{next(iter(names), '')!r}); extract them first, or name the bank that has them"
            )
        return replace(
            self,
            questions=kept,
            absent=tuple(name for name in names if name not in found),
            unasked=len(self.questions) - len(kept),
        )


def _by_stem(keys: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key in dict.fromkeys(keys):
        found[posixpath.basename(_bare(key))].append(key)
    return found


def _nearest(name: str, known: Mapping[str, list[str]], source: str) -> str | None:
    """The key that a file calls `name`; None where there is none, ValueError where several are as near."""
    wanted = _bare(name)
    ranks: dict[int, list[str]] = defaultdict(list)
    for key in known.get(posixpath.basename(wanted), ()):
        tests = (
            key == name,
            _bare(key) == wanted,
            _bare(key).endswith(f"/{wanted}"),
            wanted.endswith(f"/{_bare(key)}"),
        )
        if any(tests):
            ranks[tests.index(True)].append(key)
    near = ranks[min(ranks)] if ranks else []
    if len(near) > 1:
        raise ValueError(
            f"{source}: expected one clip called {name!r}, found {near[0]} and {near[1]}; name their folders "
            "in the questions"
        )
    return near[0] if near else None


def _bare(name: str) -> str:
    return EXTENSION.sub("", name)
