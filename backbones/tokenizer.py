"""Texts to tokens, as the model's configuration says, built when first called.

Extraction never reads a text, and a Hugging Face tokenizer may have to be downloaded: so nothing is loaded
before the first call. A folder may bring its own byte-pair merges (`text_cfg.tokenizer_kwargs.bpe_path`,
relative to the folder) for a vocabulary smaller than CLIP's 49408; `text_cfg.merges` takes the first of
CLIP's.
"""

import gzip
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer, default_bpe
from torch import Tensor

from backbones.architecture import first_line
from backbones.errors import BackboneError


class Tokenizer:
    """Calls open_clip's tokenizer of a text tower, made at the first call."""

    def __init__(self, text_cfg: Mapping[str, Any], *, folder: Path | None = None) -> None:
        self.text_cfg = dict(text_cfg)
        self.folder = folder
        self._encode: Callable[..., Tensor] | None = None

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """Int64 tokens (n, context length); a text that is too long is cut.

        Raises BackboneError where the tokenizer cannot be had or yields tokens that the model has no row for.
        """
        if self._encode is None:
            self._encode = self._build()
        tokens = self._encode([texts] if isinstance(texts, str) else list(texts))
        rows = self.text_cfg.get("vocab_size", 49408)
        if "hf_model_name" not in self.text_cfg and tokens.numel() and int(tokens.max()) >= rows:
            raise BackboneError(
                f"the tokenizer gave token {int(tokens.max())}, but the text tower has {rows}; "
                "name the right tokenizer in text_cfg"
            )
        return tokens

    def settings(self) -> dict[str, Any]:
        """All that decides its tokens: what the text tower says, and digests of the folder's own files."""
        named = (self.text_cfg.get("tokenizer_kwargs") or {}).get("bpe_path")
        names = {named} if named else set[str]()
        if self.folder is not None and self.text_cfg.get("hf_tokenizer_name"):
            found = (path.name for kind in ("*.json", "*.txt", "*.model") for path in self.folder.glob(kind))
            names |= set(found)
        folder = self.folder or Path()
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}
        return {"text": self.text_cfg, "files": files}

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of byte pairs of open_clip's own vocabulary, none of them special; spaces are one each.

        Raises BackboneError where the text tower has another tokenizer.
        """
        if self._encode is None:
            self._encode = self._build()
        if not isinstance(self._encode, SimpleTokenizer):
            raise BackboneError(
                "expected byte pairs of open_clip's own vocabulary to be read back, found others"
            )
        return self._encode.decode(tokens).strip()

    def _build(self) -> Callable[..., Tensor]:
        length = self.text_cfg.get("context_length", DEFAULT_CONTEXT_LENGTH)
        options = dict(self.text_cfg.get("tokenizer_kwargs") or {})
        name = self.text_cfg.get("hf_tokenizer_name")
        if "merges" in self.text_cfg:
            return _first_merges(self.text_cfg["merges"], length)
        if not name:
            if "bpe_path" in options and self.folder is not None:
                options["bpe_path"] = str(self.folder / options["bpe_path"])
            return SimpleTokenizer(context_length=length, **options)
        try:
            mode = self.text_cfg.get("tokenizer_mode")
            return HFTokenizer(
                str(self.folder or name), context_length=length, tokenizer_mode=mode, **options
            )
        except (ImportError, OSError, ValueError) as error:
            raise BackboneError(f"could not get the tokenizer {name}: {first_line(error)}") from error


def _first_merges(count: int, length: int) -> SimpleTokenizer:
    """CLIP's tokenizer with the first `count` of its byte pairs, the most frequent ones, alone."""
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).split(b"\n")
    with tempfile.NamedTemporaryFile(suffix=".txt.gz") as file:
        file.write(gzip.compress(b"\n".join(lines[: count + 1])))
        file.flush()
        return SimpleTokenizer(file.name, context_length=length)
