"""`framebank ablate NAME`: which ablations there are."""

from collections.abc import Sequence

import tyro
from rich.console import Console

from ablations.evl import EvlConfig, run_evl
from ablations.omnivl import OmniVlConfig, run_omnivl
from ablations.openvclip import OpenVclipConfig, run_openvclip
from ablations.views import ViewsConfig, run_views

COMMANDS = {
    "evl": (EvlConfig, run_evl),
    "views": (ViewsConfig, run_views),
    "openvclip": (OpenVclipConfig, run_openvclip),
    "omnivl": (OmniVlConfig, run_omnivl),
}
"""Name to its settings and what runs them."""


def main(argv: Sequence[str]) -> int:
    """`framebank ablate evl [--bank BANK --labels LABEL ...]`, `views`, `openvclip` or `omnivl`."""
    settings = {name: config for name, (config, _) in COMMANDS.items()}
    config = tyro.extras.subcommand_cli_from_dict(settings, prog="framebank ablate", args=list(argv))
    run = next(run for kind, run in COMMANDS.values() if isinstance(config, kind))
    run(config, Console())
    return 0
