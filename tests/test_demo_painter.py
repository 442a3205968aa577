import numpy as np
import pytest

from demo.painter import HUES, SHAPES, Sprites, draw_backdrops, draw_colours, paint


def one(shape: str, **changes) -> Sprites:
    fields = {"x": 0.5, "y": 0.5, "radius": 0.3, "angle": 0.0, "glow": 0.0, "opacity": 1.0} | changes
    return Sprites(
        shape=np.array([list(SHAPES).index(shape)]),
        colour=np.array([[1.0, 0.0, 0.0]], np.float32),
        **{name: np.array([value], np.float32) for name, value in fields.items()},
    )


def on_black(sprites: Sprites, size: int = 64) -> np.ndarray:
    """Red plane of the picture, on a black background, 0 to 1."""
    picture = paint(sprites, np.zeros((1, 3, size, size), np.float32), np.random.default_rng(0))
    return picture[0, :, :, 0].astype(float) / 255


def test_same_generator_same_pixels():
    def pictures() -> np.ndarray:
        rng = np.random.default_rng(5)
        return paint(one("star"), draw_backdrops(1, 32, rng), rng)

    np.testing.assert_array_equal(pictures(), pictures())


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", np.pi * 0.9**2),
        ("square", 1.6**2),
        ("triangle", 3 * np.sqrt(3) / 4),
        ("star", 10 * 0.5 * 0.48 * np.sin(np.pi / 5)),
        ("cross", 4 * 0.95 * 0.6 - 0.6**2),
        ("ring", np.pi * (0.97**2 - 0.53**2)),
    ],
)
def test_shapes_cover_the_area_of_their_formula(shape: str, area: float):
    covered = (on_black(one(shape), 128) > 0.5).sum()
    dot = np.pi * 0.2**2
    assert covered == pytest.approx((area - dot) * (0.3 * 128) ** 2, rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_turning_is_visible_for_every_shape(shape: str):
    quarter = on_black(one(shape, angle=np.pi / 2))
    assert np.abs(quarter - on_black(one(shape))).max() > 0.5


def test_quarter_turn_is_clockwise():
    upright, turned = on_black(one("triangle")), on_black(one("triangle", angle=np.pi / 2))
    np.testing.assert_allclose(np.rot90(upright, -1).mean(), turned.mean(), atol=0.01)
    assert np.abs(np.rot90(upright, -1) - turned).mean() < 0.03


def test_position_counts_from_the_top_left():
    lit = on_black(one("circle", x=0.25, y=0.75, radius=0.1)) > 0.5
    rows, columns = np.nonzero(lit)
    assert rows.mean() == pytest.approx(47.5, abs=1.5)
    assert columns.mean() == pytest.approx(15.5, abs=1.5)


def test_absent_object_leaves_the_backdrop():
    assert on_black(one("square", opacity=0.0)).max() < 0.15


def test_colours_keep_their_order_of_hues():
    rgb = draw_colours(np.array(list(HUES.values())), np.random.default_rng(0))
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    strongest = dict(zip(HUES, rgb.argmax(axis=1), strict=True))
    assert (strongest["red"], strongest["green"], strongest["blue"]) == (0, 1, 2)


def test_backdrops_are_dull_and_differ():
    backdrops = draw_backdrops(8, 64, np.random.default_rng(0))
    assert backdrops.shape == (8, 3, 64, 64)
    assert (backdrops.max(axis=1) - backdrops.min(axis=1)).max() < 0.3
    assert backdrops.mean(axis=(1, 2, 3)).std() > 0.05
