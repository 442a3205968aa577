"""Images and videos as they are wanted: views, orders, stand-ins, what a run is; learning from them."""

import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from decoders.draws import seeded
from decoders.omnivl.config import ObjectiveConfig, PretrainConfig
from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.pretraining.order import SampleOrder
from decoders.omnivl.pretraining.session import document, new_trainer, pretrain, samples_by_kind
from decoders.omnivl.pretraining.tier import Tier
from decoders.omnivl.schedule import ScheduleConfig
from finetune.omnivl.config import LiveConfig
from finetune.omnivl.sources import LiveSources, live_clips
from finetune.omnivl.tier import LivePlace, LiveTier
from tests.small_clips import write_config
from tests.small_extractions import draw_clip
from tests.small_heads import SMALL
from tests.small_mixed_bank import small_config
from training.checkpoint import load_checkpoint
from training.interrupt import StopRequest
from training.run import open_run
from training.session import Part
from training.team import Team
from video import InputError, Sampling, ViewPlan

IMAGES, VIDEOS, FRAMES = 6, 4, 3
SCHEDULE = ScheduleConfig(image_steps=2, joint_steps=4, image_batch=4, video_batch=2)
CONFIG = PretrainConfig(
    heads=SMALL, schedule=SCHEDULE, objective=ObjectiveConfig(matching=0.0, queue=0), split="train", seed=3
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A list of images and one of videos, each with a caption, the first image with a class, too."""
    folder = tmp_path_factory.mktemp("world")
    lines = {"images": ["path,label,class_name,caption,split"], "videos": ["path,caption,split"]}
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(10, 0).repeat(10, 1)).save(folder / f"{number}.png")
        label = "0,a star" if not number else "-1,"
        lines["images"].append(f"{number}.png,{label},image {number},train")
    for number in range(VIDEOS):
        draw_clip(folder / f"{number}.mp4", number)
        lines["videos"].append(f"{number}.mp4,video {number},train")
    for name, found in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(found) + "\n")
    write_config(folder / "small.json")
    return folder


def live(world, **changes):
    values = {
        "name": str(world / "small.json"),
        "weights": "random:0",
        "image_views": ViewPlan(kind="train", sampling=Sampling(frames=1), size=64),
        "video_views": ViewPlan(kind="train", sampling=Sampling(kind="tsn", frames=FRAMES), size=64),
    }
    return LiveConfig(**(values | changes))


def clips_of(world, split="train"):
    return live_clips(LiveSources(sources=(str(world / "images.csv"), str(world / "videos.csv"))), split)


def tier_of(world, folder, config=CONFIG, clips=None, **changes):
    place = LivePlace(device=torch.device("cpu"), folder=folder, decode_processes=1)
    return LiveTier(config, live(world, **changes), clips or clips_of(world), place)


def taken(tier, kind, steps, team=Team(), config=CONFIG):  # noqa: B008
    order = SampleOrder(tier.samples(kind), config, team)
    with closing(tier.batches(order, steps)) as batches:
        return list(batches)


def test_samples_are_told_apart_by_their_names(world, tmp_path):
    tier = tier_of(world, tmp_path)
    images, videos = tier.samples("image"), tier.samples("video")
    assert (len(images), len(videos)) == (IMAGES, VIDEOS)
    assert images.captions[1] == ("image 1",)
    assert images.names == videos.names == ("a star",)
    assert images.classes.tolist() == [0] + [-1] * (IMAGES - 1)
    assert not set(images.ids) & set(videos.ids)


@pytest.mark.parametrize(("kind", "steps", "shape"), [("image", 4, (4, 1)), ("video", 2, (2, FRAMES))])
def test_batches_are_those_of_the_order_normalised(world, tmp_path, kind, steps, shape):
    tier = tier_of(world, tmp_path)
    order = SampleOrder(tier.samples(kind), CONFIG)
    found = taken(tier, kind, range(6))
    assert len(found) == steps
    for step, [(piece, images)] in zip(order.steps(range(6)), found, strict=True):
        assert piece.numbers.tolist() == order.pieces(step)[0].numbers.tolist()
        assert images.shape == (*shape, 3, 64, 64)
        assert images.dtype == torch.float32
    assert found[0][0][1].min() < 0 < found[0][0][1].max() < 3


def test_a_run_that_goes_on_sees_the_same_and_so_do_two_processes(world, tmp_path):
    tier = tier_of(world, tmp_path)
    whole = [images for [(_, images)] in taken(tier, "video", range(6))]
    assert torch.equal(taken(tier, "video", range(5, 6))[0][0][1], whole[-1])
    halves = [taken(tier, "video", range(6), Team(rank=rank, size=2)) for rank in range(2)]
    for step, images in enumerate(whole):
        assert torch.equal(torch.cat([half[step][0][1] for half in halves]), images)
    split = replace(CONFIG, batch_split=2)
    pieces = taken(tier_of(world, tmp_path, split), "video", range(6), config=split)
    assert torch.equal(torch.cat([images for _, images in pieces[0]]), whole[0])


def test_views_are_new_in_every_epoch(world, tmp_path):
    tier = tier_of(world, tmp_path)
    seen: dict[int, list[torch.Tensor]] = {}
    for [(piece, images)] in taken(tier, "image", range(6)):
        for number, image in zip(piece.numbers.tolist(), images, strict=True):
            seen.setdefault(number, []).append(image)
    twice = [views for views in seen.values() if len(views) > 1]
    assert twice
    assert not any(torch.equal(views[0], views[1]) for views in twice)


def test_what_stands_in_for_a_broken_video_brings_its_own_number(world, tmp_path):
    clips = clips_of(world)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    videos = list(clips["video"])
    videos[1] = replace(videos[1], path=str(broken))
    tier = tier_of(world, tmp_path, clips=clips | {"video": tuple(videos)})
    asked = [SampleOrder(tier.samples("video"), CONFIG).pieces(step)[0].numbers for step in (3, 5)]
    assert 1 in np.concatenate(asked)
    for [(piece, images)], numbers in zip(taken(tier, "video", range(6)), asked, strict=True):
        assert 1 not in piece.numbers
        assert all(piece.numbers[numbers != 1] == numbers[numbers != 1])
        assert piece.rows.tolist() == (IMAGES + piece.numbers).tolist()
        assert images.shape == (2, FRAMES, 3, 64, 64)
    [line] = (tmp_path / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == videos[1].key


@pytest.mark.parametrize("schedule", ["image_only", "decoupled"])
def test_it_is_pre_trained_as_from_a_bank(world, tmp_path, schedule):
    config = small_config(schedule)
    tier = tier_of(world, tmp_path, config)
    assert isinstance(tier, Tier)
    samples = samples_by_kind(tier, config)
    with open_run(tmp_path / "run", document(config, tier, samples), {}) as directory:
        part = Part(device=torch.device("cpu"), stop=StopRequest())
        result = pretrain(config, tier, samples, directory, part)
        found = load_checkpoint(directory.checkpoint)
    assert result.steps == config.schedule.steps
    OmniVLHeads(config.heads).load_state_dict(found["heads"], strict=True)
    begun = new_trainer(config, tier, part).visual.state_dict()
    left = {name for name, values in found["visual"].items() if torch.equal(values, begun[name])}
    time = {name for name in begun if name.startswith("temporal.")}
    assert left == {"visual.proj"} | (time if schedule == "image_only" else set())


def test_what_a_run_is(world, tmp_path):
    found = tier_of(world, tmp_path).describe()
    json.dumps(found)
    assert found == tier_of(world, tmp_path / "elsewhere", recompute=True).describe()
    clips = clips_of(world)
    fewer = clips | {"image": clips["image"][1:]}
    assert tier_of(world, tmp_path, clips=fewer).describe() != found
    assert tier_of(world, tmp_path, weights="random:1").describe() != found
    assert LiveConfig.from_json(json.loads(json.dumps(live(world).to_json()))) == live(world)


def test_the_encoder_is_new_each_time_and_begins_as_the_seed_says(world, tmp_path):
    tier = tier_of(world, tmp_path)
    models = []
    for _ in range(2):
        with seeded(1):
            models.append(tier.visual())
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(values, second[name]) for name, values in first.items())
    assert not {values.data_ptr() for values in first.values()} & {v.data_ptr() for v in second.values()}


def test_mistakes_are_refused(world, tmp_path):
    with pytest.raises(InputError, match="expected clips in split 'val', found none; the splits: 'train'"):
        clips_of(world, "val")
    with pytest.raises(ValueError, match=r"--live\.image-views\.size asks for \(224, 224\)"):
        tier_of(world, tmp_path, image_views=LiveConfig().image_views)
    with pytest.raises(ValueError, match="1 frame of images and 2 or more of videos"):
        live(world, video_views=live(world).image_views)
    with pytest.raises(ValueError, match="of kind train, found"):
        live(world, image_views=ViewPlan(sampling=Sampling(frames=1), size=64))
