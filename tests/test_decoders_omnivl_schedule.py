import json

import pytest

from decoders.omnivl.config import HeadsConfig, ObjectiveConfig, PretrainConfig
from decoders.omnivl.schedule import ScheduleConfig


def schedule(name, **others):
    return ScheduleConfig(schedule=name, image_steps=4, joint_steps=6, **others)


def test_decoupled_takes_images_first_and_then_both_in_turn():
    found = schedule("decoupled")
    assert "".join(found.kind_at(step)[0] for step in range(10)) == "iiii" + "iviviv"
    assert found.kinds() == {"image", "video"}


def test_a_pattern_holds_several_batches_of_a_kind_in_a_row():
    found = schedule("joint", images=1, videos=2)
    assert "".join(found.kind_at(step)[0] for step in range(10)) == "ivvivvivvi"


@pytest.mark.parametrize(("name", "kinds"), [
    ("image_only", "iiiiiiiiii"),
    ("video_only", "vvvvvvvvvv"),
    ("image_then_video", "iiiivvvvvv"),
])  # fmt: skip
def test_the_schedules_it_is_compared_with(name, kinds):
    found = schedule(name)
    assert "".join(found.kind_at(step)[0] for step in range(10)) == kinds


@pytest.mark.parametrize("name", ["decoupled", "joint", "image_only", "video_only", "image_then_video"])
def test_batches_of_a_kind_are_numbered_over_all_stages(name):
    found, seen = schedule(name, images=2, videos=3), {"image": 0, "video": 0}
    for step in range(found.steps):
        kind = found.kind_at(step)
        assert found.number_at(step) == seen[kind]
        seen[kind] += 1


def test_each_stage_has_its_own_rate_and_steps_of_its_own():
    found = schedule("decoupled")
    first, last = found.stage_at(3), found.stage_at(4)
    assert (first[0].optim, first[1]) == (found.optim, 3)
    assert (last[0].optim, last[1]) == (found.joint_optim, 0)
    with pytest.raises(ValueError, match="below 10"):
        found.stage_at(10)


def test_settings_survive_json():
    config = PretrainConfig(schedule=schedule("joint"), image_prompts=("{}",))
    assert PretrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(("kind", "values", "said"), [
    (HeadsConfig, {"width": 10, "heads": 3}, "width that 3 heads share"),
    (HeadsConfig, {"temperature": 1.0}, "temperature within"),
    (ObjectiveConfig, {"momentum": 1.0}, "momentum"),
    (ScheduleConfig, {"image_steps": 0, "joint_steps": 0}, "steps from 0"),
    (PretrainConfig, {"image_prompts": ("a photo",)}, "place {} for the class"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(kind, values, said):
    with pytest.raises(ValueError, match=said):
        kind(**values)
