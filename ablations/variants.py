"""The decoders that EVL's ablations compare, and the questions they answer.

All are changes of one decoder: one layer, all tokens, convolution and position. The cross-frame module nearly
doubles the cost of a layer and needs all tokens, so only the question about temporal modules has it, and is
asked of one layer.
"""

from typing import Any

from ablations.table import Question

_BLIND = {"temporal_conv": False, "temporal_position": False, "cross_frame": False}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "4 layers": ("four layers read all tokens of the last four blocks", {"layers": 4}),
    "4 layers, pooled": (
        "four layers read the CLS token of each frame in the last four blocks",
        {"layers": 4, "tokens": "pooled"},
    ),
    "4 layers, last block": (
        "four layers read all tokens of the last block, again and again",
        {"layers": 4, "multi_layer": False},
    ),
    "2 layers": ("two layers read all tokens of the last two blocks", {"layers": 2}),
    "1 layer": ("one layer reads all tokens of the last block", {"layers": 1}),
    "no module": ("one layer, blind to the order of frames", _BLIND),
    "convolution": ("one layer with the convolution over time alone", _BLIND | {"temporal_conv": True}),
    "position": ("one layer with the position of frames alone", _BLIND | {"temporal_position": True}),
    "cross-frame": ("one layer with the cross-frame maps alone", _BLIND | {"cross_frame": True}),
    "all modules": ("one layer with all three temporal modules", {"cross_frame": True}),
}
"""Name to what it is and what it changes in a decoder of one layer, all tokens, convolution and position."""

QUESTIONS = (
    Question(
        name="tokens",
        asks="All tokens, or one for each frame?",
        variants=("4 layers, pooled", "4 layers"),
        published="unpooled tokens: about +3",
    ),
    Question(
        name="blocks",
        asks="Features of several blocks, or of the last alone?",
        variants=("4 layers, last block", "4 layers"),
        published="intermediate features: about +1",
    ),
    Question(
        name="depth",
        asks="How many decoder layers?",
        variants=("1 layer", "2 layers", "4 layers"),
        published="more layers: about +1; on Something-Something v2 about 59 with 4 layers and 61 with 12",
    ),
    Question(
        name="temporal",
        asks="Which temporal modules?",
        variants=("no module", "convolution", "position", "cross-frame", "all modules"),
        published="all three: about +0.5 on Kinetics-400, about +14 on Something-Something v2",
    ),
)
"""The first variant of a question is the one that the others are compared with."""
