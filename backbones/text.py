"""Zero-shot classification: class names become a matrix, frames are scored by their cosine with its rows.

Each name is put into every template, each text encoded and normalised, the texts of a class averaged and
normalised again. A video's score is the mean of its frames' scaled cosines; this equals the cosine with the
mean of the unit frame embeddings, which is not normalised again (Open-VCLIP, arXiv 2302.00624).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.errors import BackboneError
from backbones.text_cache import TextCache
from backbones.weights import LoadedClip

PHOTO_TEMPLATES = ("a photo of a {}.",)

ACTION_TEMPLATES = tuple(
    f"a {noun} of {action}."
    for noun in ("photo", "video", "example", "demonstration")
    for action in ("{}", "a person {}", *(f"a person {verb} {{}}" for verb in (
        "using", "doing", "during", "performing", "practicing",
    )))
)  # fmt: skip
"""Open-VCLIP's 28: four nouns times seven ways to name an action."""


def class_matrix(
    clip: LoadedClip,
    names: Sequence[str],
    templates: Sequence[str] = PHOTO_TEMPLATES,
    *,
    batch: int = 256,
    cache: TextCache | None = None,
) -> Float[Tensor, "K E"]:
    """Unit class embeddings in fp32, one row a name, on the model's device; `batch` texts are encoded at a
    time, those that a cache of the text tower has are not encoded at all.

    Raises BackboneError where there are no names or templates, or a template has no place for the name.
    """
    _check(names, templates)
    texts = [template.format(name) for name in names for template in templates]
    if cache is not None:
        units = cache.encoded(texts, lambda some: torch.cat(list(text_embeddings(clip, some, batch=batch))))
        return _averaged(units.to(next(clip.model.parameters()).device), len(names))
    by_class = rearrange(clip.tokenizer(texts), "(k m) l -> k m l", m=len(templates))
    return class_matrix_of_tokens(clip.model, by_class, batch=batch)


@torch.no_grad()
def class_matrix_of_tokens(
    model: nn.Module, tokens: Int[Tensor, "K M L"], *, batch: int = 256
) -> Float[Tensor, "K E"]:
    """The same of texts as tokens, M templates for each of K classes; trained against, it is a constant."""
    texts = [unit_texts(model, part) for part in rearrange(tokens, "k m l -> (k m) l").split(batch)]
    return _averaged(torch.cat(texts), len(tokens))


def _averaged(texts: Float[Tensor, "N E"], classes: int) -> Float[Tensor, "K E"]:
    """The unit mean of each class's texts, of which all have as many."""
    return F.normalize(rearrange(texts, "(k m) e -> k m e", k=classes).mean(dim=1), dim=-1)


def text_embeddings(
    clip: LoadedClip, texts: Sequence[str], *, batch: int = 256
) -> Iterator[Float[Tensor, "n E"]]:
    """Unit embeddings of texts as they are, in fp32, on the model's device, `batch` of them at a time."""
    for start in range(0, len(texts), batch):
        yield unit_texts(clip.model, clip.tokenizer(texts[start : start + batch]))


@torch.no_grad()
def unit_texts(model: nn.Module, tokens: Int[Tensor, "n L"]) -> Float[Tensor, "n E"]:
    """Unit embeddings of tokenised texts, in fp32, on the model's device."""
    every: Any = model
    device = next(model.parameters()).device
    return F.normalize(every.encode_text(tokens.to(device)).float(), dim=-1)


def zero_shot_scores(
    frames: Float[Tensor, "N T E"], classes: Float[Tensor, "K E"], *, logit_scale: float | Tensor
) -> Float[Tensor, "N K"]:
    """Logits: the mean over frames of logit_scale times the cosine of frame and class."""
    unit = F.normalize(frames.float(), dim=-1).mean(dim=1)
    return logit_scale * unit @ classes.float().T


def _check(names: Sequence[str], templates: Sequence[str]) -> None:
    if not names:
        raise BackboneError("expected class names, found none")
    if not templates:
        raise BackboneError("expected prompt templates such as 'a photo of a {}.', found none")
    for template in templates:
        if "{}" not in template:
            raise BackboneError(f"template {template!r}: expected a place {{}} for the class name")
