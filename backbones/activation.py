"""GELU or QuickGELU: asked of everybody who knows, and refused where they disagree.

OpenAI trained CLIP with QuickGELU, x * sigmoid(1.702 x); most later weights use GELU. The tensors fit both,
so a model with the wrong one loads, runs and answers worse. Those who may know: the weight file (OpenAI's
carry marks), the tag or the description beside the file, the model's name or description, and the user.
"""

from collections.abc import Mapping

from torch import nn

from backbones.errors import BackboneError


def agreed_activation(said: Mapping[str, bool | None]) -> bool | None:
    """Whether to use QuickGELU, from who says what; None where nobody says.

    Raises BackboneError, with every side's claim, where they disagree.
    """
    voices = {who: choice for who, choice in said.items() if choice is not None}
    if len(set(voices.values())) > 1:
        claims = "; ".join(f"{who}: {'QuickGELU' if choice else 'GELU'}" for who, choice in voices.items())
        raise BackboneError(f"the activation does not fit ({claims}); choose as the weights demand")
    return next(iter(voices.values()), None)


def uses_quick_gelu(tower: nn.Module) -> bool:
    """Whether an open_clip tower runs QuickGELU, read off its modules."""
    return any(type(module).__name__ == "QuickGELU" for module in tower.modules())
