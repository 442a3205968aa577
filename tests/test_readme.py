"""Commands and figures of README.md: every command line parses, and what a bank of a recipe takes is so."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

import framebank
from pipeline.known import spec_for
from pipeline.recipes import recipes
from storage import BackboneSpec, array_layouts

README = (Path(__file__).parent.parent / "README.md").read_text()
SHORTHAND = {"extract": ["k400-b16-8f", "--source", "train.csv"]}
"""What `...` stands for after a command."""
PARSERS = ("cli", "extras.overridable_config_cli", "extras.subcommand_cli_from_dict")
TOWERS = {"ViT-B-16": (768, 12, 12, (14, 14), 512), "ViT-L-14": (1024, 16, 24, (16, 16), 768)}
K400_VIDEOS, SSV2_VIDEOS = 240_000, 169_000


class Parsed(BaseException):
    """The command line was understood; nothing is run."""


@pytest.fixture
def parse_only(monkeypatch):
    for name in PARSERS:
        owner, _, leaf = f"tyro.{name}".rpartition(".")
        parser = getattr(tyro.extras if owner.endswith("extras") else tyro, leaf)
        monkeypatch.setattr(f"{owner}.{leaf}", stops_after(parser))


def stops_after(parser):
    def parse(*arguments, **named):
        raise Parsed(parser(*arguments, **named))

    return parse


def command_lines() -> list[list[str]]:
    """The words after `framebank` of each command in a block of code."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```", README, flags=re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "framebank" in words and "import" not in words:
                found.append(words[words.index("framebank") + 1 :])
    return found


def test_there_are_commands():
    assert len(command_lines()) > 20


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_every_command_line_parses(words, parse_only):
    name, *rest = words
    with pytest.raises(Parsed):
        framebank.dispatch([name, *(SHORTHAND[name] + rest[1:] if rest[:1] == ["..."] else rest)])


def rows_of_the_table() -> list[list[str]]:
    """The cells of the table of the paper's recipes."""
    lines = [line for line in README.splitlines() if re.match(r"\| `(k400|ssv2)-", line)]
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_names_every_recipe_of_the_paper():
    assert {row[0] for row in rows_of_the_table()} == {
        name for name in recipes() if name.startswith(("k400", "ssv2")) and not name.endswith("-test")
    }


@pytest.mark.parametrize("row", rows_of_the_table(), ids=lambda row: row[0])
def test_bytes_of_the_recipes(row):
    name, megabytes, terabytes = row[0], row[-2], row[-1]
    config = recipes()[name][1]
    width, heads, depth, grid, embed = TOWERS[config.backbone.name]
    backbone = BackboneSpec(
        name=config.backbone.name,
        weights="0" * 64,
        precision="fp16",
        quick_gelu=True,
        width=width,
        heads=heads,
        depth=depth,
        grid=grid,
        embed=embed,
    )
    spec = spec_for(config, backbone, (0.0,) * 3, (1.0,) * 3)
    bytes_per_row = sum(layout.row_bytes for layout in array_layouts(spec))
    assert float(megabytes.split()[0]) == pytest.approx(bytes_per_row / 1e6, abs=0.06)
    videos = SSV2_VIDEOS if name.startswith("ssv2") else K400_VIDEOS
    assert float(terabytes.split()[0]) == pytest.approx(bytes_per_row * videos / 1e12, abs=0.06)
