"""`framebank interpolate`: the final weights of a fine-tuned CLIP, as a file that every other command takes.

Open-VCLIP (arXiv 2302.00624) averages the checkpoints of a training and mixes that mean with the CLIP it
began from, share 0.5 of CLIP for ViT-B and 0.6 for ViT-L. Its released files are means before that mixture,
so they need CLIP's own weights, too. The result is an ordinary open_clip state dict with its temporal view in
a JSON file beside it: a backbone for `framebank extract` and `framebank zeroshot`. A share of 1 is CLIP
itself with the temporal view on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from torch import Tensor

from backbones.checkpoint import read_checkpoint
from backbones.config import BackboneConfig, Boundary, TemporalView
from backbones.save import check_name, save_clip
from backbones.sidecar import Sidecar, read_sidecar
from backbones.strict import fill
from backbones.weights import OPENVCLIP, LoadedClip, load_clip
from finetune.averaging import average_checkpoints
from finetune.interpolate import mixed


@dataclass(frozen=True, kw_only=True, slots=True)
class InterpolateCommand:
    """Average fine-tuned checkpoints, mix them with CLIP, write the weights and their temporal view."""

    tuned: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Fine-tuned weights: one file, such as Open-VCLIP's swa_2_22.pth, or the checkpoints to average."""
    name: str
    """The network: an open_clip ViT (`ViT-B-16`), a folder or a .json file."""
    clip: str = "openai"
    """CLIP's weights that training began from: a tag, OpenAI's archive, or any weight file."""
    share: float = 0.5
    """Share of CLIP's weights; Open-VCLIP took 0.5 for ViT-B and 0.6 for ViT-L."""
    out: Path
    """The file to write, .safetensors or .pt; its settings are written to OUT.json."""
    window: int | None = None
    """Frames before and after that blocks see; by default as stands beside the tuned weights, 1 for
    Open-VCLIP's own files; 0 for weights that were tuned without a temporal view."""
    boundary: Boundary | None = None
    """What the ends of a clip see beyond it; by default likewise, zeros for Open-VCLIP's own files."""


def interpolate(command: InterpolateCommand) -> Sidecar:
    """Write the final weights; their settings.

    Raises:
        BackboneError: weights that cannot be had, are damaged, or are another network's.
        ValueError: a share beyond 0 to 1, checkpoints of different models, no word of the temporal view.
    """
    check_name(command.out)
    asked = BackboneConfig(
        name=command.name, weights=command.clip, window=command.window, boundary=command.boundary
    )
    view = view_of(command.tuned, asked)
    clip = load_clip(BackboneConfig(name=command.name, weights=command.clip, window=0))
    into_mixture(clip, command)
    made = {
        "share": command.share,
        "clip": f"{command.name} {command.clip}",
        "clip_digest": clip.digest,
        "tuned": [str(path) for path in command.tuned],
    }
    return save_clip(command.out, clip.model, view=view, made=made)


def into_mixture(clip: LoadedClip, command: InterpolateCommand) -> None:
    """Turn a loaded CLIP's weights into the mixture."""
    before = {name: values.clone() for name, values in clip.model.state_dict().items()}
    tuned = average_checkpoints(command.tuned)
    fill_tuned(clip, before, tuned, path=", ".join(map(str, command.tuned[:2])))
    clip.model.load_state_dict(mixed(before, clip.model.state_dict(), command.share))


def fill_tuned(
    clip: LoadedClip, before: Mapping[str, Tensor], tuned: Mapping[str, Tensor], *, path: str
) -> None:
    """Copy fine-tuned weights into a loaded CLIP, whose own ones, `before`, give the text tower where they
    have none. BackboneError where they are another network's.
    """
    if not any(is_text(name) for name in tuned):
        tuned = {name: values for name, values in before.items() if is_text(name)} | dict(tuned)
    fill(clip.model, tuned, name=clip.name, path=path)


def is_text(name: str) -> bool:
    """Whether a tensor belongs to the text tower, which training leaves as it is and may leave out."""
    return not name.startswith("visual.") and name != "logit_scale"


def view_of(tuned: Sequence[Path], asked: BackboneConfig) -> TemporalView | None:
    """The temporal view that is asked for, or the one that the tuned weights have.

    Raises ValueError where nobody says.
    """
    if asked.window is not None:
        return asked.view
    found = [read_sidecar(path) for path in tuned]
    said = {sidecar.view for sidecar in found if sidecar is not None}
    if None in found and read_checkpoint(tuned[found.index(None)]).openvclip:
        said.add(OPENVCLIP)
    elif None in found or not found:
        said.clear()
    if len(said) != 1:
        raise ValueError(
            "expected the temporal view that the weights were tuned with, found none beside them, or "
            "several; give --window and --boundary (--window 0 for none)"
        )
    return said.pop()


def main(argv: Sequence[str]) -> int:
    """`framebank interpolate TUNED... --name NAME --clip CLIP --share SHARE --out FILE`."""
    command = tyro.cli(InterpolateCommand, prog="framebank interpolate", args=argv)
    console = Console()
    with console.status("reading and mixing weights"):
        sidecar = interpolate(command)
    view = sidecar.view or "plain CLIP"
    console.print(f"wrote {command.out} ({view}, digest {sidecar.digest[:12]})", highlight=False)
    return 0
