"""Who decides the activation."""

import pytest

from backbones.activation import agreed_activation, uses_quick_gelu
from backbones.errors import BackboneError
from tests.small_clips import small_model


def test_agreement_and_silence():
    assert agreed_activation({"file": None, "name": True, "user": True}) is True
    assert agreed_activation({"file": False, "name": None, "user": None}) is False
    assert agreed_activation({"file": None}) is None


def test_disagreement_names_both_sides():
    with pytest.raises(BackboneError, match=r"\(the file: QuickGELU; the user: GELU\)"):
        agreed_activation({"the file": True, "the name": None, "the user": False})


def test_reading_it_off_a_tower():
    assert uses_quick_gelu(small_model(quick_gelu=True).visual)
    assert not uses_quick_gelu(small_model().visual)
