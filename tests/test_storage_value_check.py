"""Values that passed their checksums are still held to what their arrays mean."""

import numpy as np
import pytest

from storage import MAPS, ArrayLayout, array_layouts, quantize_map, quantize_tokens
from storage.checks.value_check import first_fault
from tests.small_banks import row_values, small_spec


def layout_of(name: str, dtype: str = "float16") -> ArrayLayout:
    layouts = {layout.name: layout for layout in array_layouts(small_spec(dtype=dtype))}
    return layouts[f"features/block02/{name}"]


def rows_of(dtype: str, count: int = 3) -> dict[str, np.ndarray]:
    rows = [row_values(small_spec(dtype=dtype), row) for row in range(count)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def fault_in(
    name: str, place: tuple[int, ...], value: float, dtype: str = "float16"
) -> tuple[int, str] | None:
    """The fault in three good rows, of which one value is another."""
    layout, rows = layout_of(name, dtype), rows_of(dtype)
    rows[layout.name][place] = value
    scales = {found: values for found, values in rows.items() if found.startswith(f"{layout.name}_")}
    return first_fault(layout, rows[layout.name], scales)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_good_rows_have_no_fault(dtype):
    rows = rows_of(dtype)
    for layout in array_layouts(small_spec(dtype=dtype)):
        assert first_fault(layout, rows[layout.name], rows) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["out", "map_prev"])
def test_values_that_are_not_finite(name, value):
    assert fault_in(name, (1, 0, 0, 0), value) == (1, "has values that are not finite")


@pytest.mark.parametrize("value", [1.001, -0.001, 40000.0])
@pytest.mark.parametrize("name", MAPS)
def test_shares_outside_of_0_to_1(name, value):
    assert fault_in(name, (2, 1, 5, 5), value) == (2, "has shares of attention that are not between 0 and 1")


def test_shares_that_do_not_sum_to_one():
    assert fault_in("map_next", (0, 1, 5, 5), 0.9) == (0, "has shares of attention that do not sum to 1")


@pytest.mark.parametrize("patches", [1, 2, 196, 576, 1369])
def test_rounding_to_float16_is_no_fault(patches):
    rng = np.random.default_rng(patches)
    layout = ArrayLayout(name="features/block02/map_prev", row_shape=(1, patches, patches), dtype="float16")
    for spread in (0.0, 1.0, 8.0):
        shares = np.exp(spread * rng.standard_normal((2, 1, patches, patches)))
        shares = (shares / shares.sum(-1, keepdims=True)).astype(np.float32)
        assert first_fault(layout, shares.astype(np.float16), {}) is None
        integers, scale = quantize_map(shares)
        small = ArrayLayout(name=layout.name, row_shape=layout.row_shape, dtype="uint8")
        assert first_fault(small, integers, {f"{layout.name}_scale": scale}) is None


def test_scales():
    assert fault_in("out_token_scale", (1, 2, 3), np.nan, "int8") == (1, "has values that are not finite")
    assert fault_in("out_channel_scale", (1, 2), -1.0, "int8") == (1, "has negative scales")
    assert fault_in("map_prev_scale", (1, 0, 0), np.inf, "int8") == (1, "has values that are not finite")


def test_a_scale_of_zero_is_right_only_where_all_is_zero():
    rows, layout = rows_of("int8"), layout_of("out", "int8")
    token, channel = f"{layout.name}_token_scale", f"{layout.name}_channel_scale"
    rows[token][1, 2, 3] = 0
    assert first_fault(layout, rows[layout.name], rows) == (1, "has values whose token scale is 0")
    rows[layout.name][1, 2, 3] = 0
    assert first_fault(layout, rows[layout.name], rows) is None
    rows[channel][2, 4] = 0
    assert first_fault(layout, rows[layout.name], rows) == (2, "has values whose channel scale is 0")
    rows[layout.name][2, :, :, 4] = 0  # its second digit, if any, is behind
    assert first_fault(layout, rows[layout.name], rows) is None


def test_tokens_of_zero_can_be_quantised():
    values = np.random.default_rng(0).standard_normal((2, 3, 7, 16)).astype(np.float32)
    values[0, 1, 2] = 0
    values[1, ..., 5] = 0
    layout = layout_of("out", "int8")
    integers, token, channel = quantize_tokens(values)
    scales = {f"{layout.name}_token_scale": token, f"{layout.name}_channel_scale": channel}
    assert not token.all()
    assert not channel.all()
    assert first_fault(layout, integers, scales) is None


def test_a_map_scale_that_is_not_its_own():
    rows, layout = rows_of("int8"), layout_of("map_prev", "int8")
    scale = rows[f"{layout.name}_scale"].copy()
    scale[2, 1, 4] *= 1.5
    found = first_fault(layout, rows[layout.name], {f"{layout.name}_scale": scale})
    assert found == (2, "has shares of attention that, scaled, do not sum to 1")
    assert first_fault(layout, rows[layout.name], {}) is None  # where the scales are damaged themselves
