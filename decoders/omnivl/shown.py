"""What a model is shown: a bank's images and clips, or files of them."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Images and clips: a bank's, or those of files."""

    bank: str = ""
    """Folder or URL of the bank."""
    sources: tuple[str, ...] = ()
    """Instead of a bank: lists, captions, folders or tars of images and videos."""
    root: str = ""
    """Folder that the lists' paths are relative to; by default each list's own."""
    name: str = ""
    """Of files, for a model that learned from a bank: the network of that bank's tower, as for extract; by
    default as the bank called it. A model that was trained end to end has its own."""
    weights: str = ""
    """The weights of that tower, as for extract."""
    decode_processes: int = 2
    """Processes that decode files."""

    def __post_init__(self) -> None:
        if bool(self.bank) == bool(self.sources):
            found = "both" if self.bank else "neither"
            raise ValueError(f"expected --bank, or --sources of images and videos, found {found}; name one")
        if self.decode_processes < 1:
            raise ValueError(f"expected decode_processes from 1, found {self.decode_processes}")

    @property
    def place(self) -> str:
        """Where they are, in words."""
        return self.bank or ", ".join(self.sources)

    @property
    def options(self) -> str:
        """How a command line names them."""
        if self.bank:
            return shlex.join(["--bank", self.bank])
        return shlex.join(["--sources", *self.sources, *(["--root", self.root] if self.root else [])])
