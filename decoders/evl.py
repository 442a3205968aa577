"""The EVL decoder: a few attention layers that read a frozen CLIP and recognise what happens in a clip.

"Frozen CLIP Models are Efficient Video Learners" (Lin et al., ECCV 2022). One learned query per clip looks,
layer by layer from shallow to deep, at the unpooled tokens of the last D blocks of all frames; layer i reads
block n - D + i (`DecoderConfig` has the variants that the paper compares this with). Tokens first receive
what the temporal modules add:

    tokens = F + conv(F) + position + cross(maps)      (a single frame, T = 1: tokens = F)
    x = x + attention(norm1(x), norm3(tokens));  x = x + mlp(norm2(x))
    logits = Linear(Dropout(LayerNorm(x)))

Parameter names and shapes are those of the published checkpoints, which load strictly (`load_evl_weights`).
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import nn

from decoders.attention import QueryAttention
from decoders.config import DecoderConfig
from decoders.draws import Draws, dropout
from decoders.temporal import CrossFrameTable, TemporalConv
from decoders.tokens import TokenParts
from training.checkpoint import CheckpointError, load_checkpoint

_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenShape:
    """What a decoder must know of the tokens it reads."""

    width: int
    """C, the tower's channels."""
    frames: int
    """T; the position embedding is as long."""
    grid: tuple[int, int]
    """(h, w) of the patches; P = h * w."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockFeatures:
    """What the frozen tower kept of one block for a batch of clips. Maps may be None where no module reads
    them.
    """

    out: Float[torch.Tensor, "N T L C"]
    """The block's output tokens, CLS first; pooled frames have L = 1."""
    map_prev: Float[torch.Tensor, "N T-1 P P"] | None = None
    """Attention of frame t to frame t - 1, t = 1..T-1, averaged over heads."""
    map_next: Float[torch.Tensor, "N T-1 P P"] | None = None
    """Attention of frame t to frame t + 1, t = 0..T-2, averaged over heads."""
    seen: Bool[torch.Tensor, "N T L"] | None = None
    """Tokens that the query sees, at least one a clip; None for all, as always but in training."""


class QuickGELU(nn.Module):
    """CLIP's activation: x * sigmoid(1.702 x)."""

    def forward(self, x: Float[torch.Tensor, "*B C"]) -> Float[torch.Tensor, "*B C"]:
        return x * torch.sigmoid(1.702 * x)


class DecoderLayer(nn.Module):
    """One look of the query at one block's tokens, then an MLP. Three norms: query, MLP input, tokens."""

    def __init__(self, width: int, config: DecoderConfig, number: int) -> None:
        super().__init__()
        self.number = number
        self.dropout = config.dropout
        hidden = round(config.mlp_ratio * width)
        self.attn = QueryAttention(width, config.qkv_width or width, config.heads)
        fc1, fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for linear in (fc1, fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)
        self.mlp = nn.Sequential(OrderedDict({"fc1": fc1, "act": QuickGELU(), "fc2": fc2}))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self, query: Float[torch.Tensor, "N C"], parts: TokenParts, draws: Draws | None = None
    ) -> Float[torch.Tensor, "N C"]:
        """The query after this layer; norm3's scale and shift are folded into the attention."""
        fc1, activation, fc2 = self.mlp
        query = query + self.attn(self.norm1(query), parts, self.norm3.weight, self.norm3.bias)
        hidden = activation(fc1(self.norm2(query)))
        return query + fc2(dropout(hidden, self.dropout, draws, f"mlp {self.number}"))


class EVLTrunk(nn.Module):
    """The decoder without its classifier: features of D blocks to one vector a clip."""

    def __init__(self, config: DecoderConfig, shape: TokenShape) -> None:
        super().__init__()
        layers = range(config.layers)
        self.grid = shape.grid
        self.pooled = config.tokens == "pooled"
        self.cls_token = nn.Parameter(torch.zeros(shape.width))
        if config.cls_init == "normal":
            nn.init.normal_(self.cls_token, std=0.02)
        self.decoder_layers = nn.ModuleList(DecoderLayer(shape.width, config, i) for i in layers)
        self.temporal_conv = self.temporal_pos_embed = self.cross_attention = None
        if config.temporal_conv:
            self.temporal_conv = nn.ModuleList(TemporalConv(shape.width) for _ in layers)
        if config.temporal_position:
            positions = (nn.Parameter(torch.zeros(shape.frames, shape.width)) for _ in layers)
            self.temporal_pos_embed = nn.ParameterList(positions)
        if config.cross_frame:
            self.cross_attention = nn.ModuleList(CrossFrameTable(shape.width, shape.grid) for _ in layers)

    def forward(
        self, features: Sequence[BlockFeatures], draws: Draws | None = None
    ) -> Float[torch.Tensor, "N C"]:
        """The query after the last layer; `features` runs from the shallowest block to the deepest."""
        if len(features) != len(self.decoder_layers):
            raise ValueError(
                f"expected the features of {len(self.decoder_layers)} blocks, one per decoder layer, found "
                f"{len(features)}"
            )
        query = self.cls_token.expand(len(features[0].out), -1)
        for i, layer in enumerate(self.decoder_layers):
            query = layer(query, self.parts(i, features[i]), draws)
        return query

    def parts(self, i: int, block: BlockFeatures) -> TokenParts:
        """What layer `i` attends to: the frozen tokens and what each temporal module adds to them."""
        if self.pooled and block.out.shape[2] != 1:
            raise ValueError(
                f"this decoder reads one token a frame, found features with {block.out.shape[2]}"
            )
        frames = block.out.shape[1]
        table, conv = self._table(i, block), self._conv(i, frames)
        return TokenParts(
            out=block.out,
            maps=None if table is None else (block.map_prev, block.map_next),  # pyright: ignore[reportArgumentType]
            grid=self.grid,
            taps=None if conv is None else conv.residual_taps,
            added=self._added(i, frames),
            tables=None if table is None else (table.w1, table.w2),
            seen=block.seen,
        )

    def _conv(self, i: int, frames: int) -> TemporalConv | None:
        """The convolution of layer `i`; None where it is off or there is but one frame."""
        if self.temporal_conv is None or frames == 1:
            return None
        return self.temporal_conv[i]  # pyright: ignore[reportReturnType]

    def _table(self, i: int, block: BlockFeatures) -> CrossFrameTable | None:
        """The displacement table of layer `i`; None where it is off or there is but one frame."""
        if self.cross_attention is None or block.out.shape[1] == 1:
            return None
        if block.map_prev is None or block.map_next is None:
            raise ValueError("this decoder reads cross-frame maps, found features without them")
        return self.cross_attention[i]  # pyright: ignore[reportReturnType]

    def _added(self, i: int, frames: int) -> Float[torch.Tensor, "T C"] | None:
        """Position and convolution bias, whichever there are; neither where there is but one frame."""
        conv = self._conv(i, frames)
        if self.temporal_pos_embed is None or frames == 1:
            return None if conv is None else conv.bias.expand(frames, -1)
        position = self.temporal_pos_embed[i]
        if len(position) != frames:
            raise ValueError(
                f"expected clips of {len(position)} frames, as the position embedding has, found {frames}"
            )
        return position if conv is None else position + conv.bias


class EVLDecoder(nn.Module):
    """Trunk (`decoder.`) and classifier (`proj.`); parameters drawn from torch's current generator."""

    def __init__(self, config: DecoderConfig, shape: TokenShape, classes: int) -> None:
        super().__init__()
        self.config = config
        self.shape = shape
        self.classes = classes
        self.decoder = EVLTrunk(config, shape)
        norm, linear = nn.LayerNorm(shape.width), nn.Linear(shape.width, classes)
        self.proj = nn.Sequential(OrderedDict({"0": norm, "2": linear}))  # EVL's 1 is dropout

    def forward(
        self, features: Sequence[BlockFeatures], draws: Draws | None = None
    ) -> Float[torch.Tensor, "N K"]:
        """Logits of a batch; one BlockFeatures per decoder layer, shallow to deep. `draws` drops out, as
        training does; without it nothing is random.

        Autocast does not reach inside: features come, and are kept, in half precision, but a query is one row
        a clip, so casting weights to bf16 takes longer than using them, and products are fp32.
        """
        with torch.autocast(features[0].out.device.type, enabled=False):
            norm, linear = self.proj
            query = norm(self.decoder(features, draws))
            return linear(dropout(query, self.config.head_dropout, draws, "classifier"))


def load_evl_weights(model: EVLDecoder, path: Path) -> None:
    """Load the `model` part of a checkpoint, ours or a published one, strictly. Raises CheckpointError."""
    state = evl_state(load_checkpoint(path), path)
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not part of this decoder" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)}, the decoder's is {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise CheckpointError(
            f"{path} does not fit this decoder: {'; '.join(problems[:_SHOWN])}{more}; choose the recipe "
            "it was trained with (layers, widths, frames, temporal modules, classes)"
        )
    model.load_state_dict(state)


def evl_state(checkpoint: Mapping[str, object], path: Path) -> dict[str, torch.Tensor]:
    """The decoder's tensors in a checkpoint dict, with the `module.` of a distributed run taken off."""
    state = checkpoint.get("model")
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise CheckpointError(
            f"expected a dict with the decoder's tensors under 'model' in {path}, found the keys "
            f"{sorted(checkpoint)[:_SHOWN]}; this is not an EVL checkpoint"
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}
