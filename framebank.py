"""The one command `framebank`: a table of sub-commands, each imported only when it is called."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence

# name: the module whose `main`, or else the `module:function`, it is; what it does
COMMANDS = {
    "doctor": ("pipeline.doctor", "can this machine do the work, and what should be mended first"),
    "demo": (
        "demo.command",
        "draw videos, encode them, train decoders, report: everything, offline, in minutes",
    ),
    "estimate": ("pipeline.estimate", "what an extraction costs, and after how many epochs its bank pays"),
    "extract": ("pipeline.extract", "videos to bank: encode with a frozen CLIP, keep what it saw"),
    "train": ("decoders.train", "bank to decoder: train an EVL decoder on cached features"),
    "sweep": ("decoders.sweeps.command", "many trainings on few reads of a bank; the best of them, tested"),
    "evaluate": ("decoders.evaluate", "test a trained decoder on a bank: top-1, top-5, per class"),
    "ablate": (
        "ablations.command",
        "what each part of the method is worth: decoders that differ in one thing",
    ),
    "finetune": ("finetune.tuning.command", "CLIP's image tower trained end to end: Open-VCLIP, or plainly"),
    "pretrain": (
        "finetune.omnivl.command",
        "OmniVL: images and videos aligned with texts, from a bank or end to end",
    ),
    "interpolate": (
        "finetune.final",
        "fine-tuned checkpoints and CLIP to one weight file with its temporal view",
    ),
    "tradeoff": (
        "finetune.tradeoff.command",
        "what fine-tuning gains on its classes against what it costs on others, from it to CLIP",
    ),
    "zeroshot": (
        "finetune.evaluation.zeroshot",
        "classify videos, or a bank's clips, by the names of their classes",
    ),
    "retrieval": (
        "finetune.evaluation.retrieval",
        "find videos by captions and captions by videos, as on MSR-VTT",
    ),
    "index": (
        "finetune.omnivl.commands:index",
        "a pre-trained model's vectors and tokens of images and clips, to search in",
    ),
    "search": ("finetune.omnivl.commands:find", "find images and clips by a sentence, in an index"),
    "retrieve": (
        "finetune.omnivl.commands:retrieve",
        "how well the images and clips of an index and their captions find each other",
    ),
    "probe": ("decoders.omnivl.probing", "a linear probe of a pre-trained model's embeddings, beside CLIP's"),
    "answer": ("finetune.omnivl.commands:answer", "answer questions about images and clips, or learn to"),
    "caption": (
        "finetune.omnivl.commands:caption",
        "say what images and clips show; BLEU, ROUGE-L and CIDEr of that",
    ),
    "status": ("pipeline.status", "how far an extraction is, from any terminal or machine, during and after"),
    "inspect": ("storage.inspect", "what a bank holds: spec, rows, sizes, statistics"),
    "verify": ("pipeline.verify", "check a bank from end to end; --repair clears the way for damaged shards"),
    "banks": ("storage.banks", "the banks below a folder or URL, a line each"),
    "gc": ("storage.gc", "remove what dead runs left in a bank, or in all banks of a folder"),
}
FAILED, MISUSED, INTERRUPTED = 1, 2, 130
"""Exit codes beside 0: the work failed, `verify` found damage or `doctor` a fault; the request was wrong;
Ctrl-C.
"""


def main() -> None:
    """Entry point of the console script."""
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(arguments: Sequence[str]) -> int:
    """Run the sub-command that the first argument names; the process's exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        say(usage())
        return 0 if arguments else MISUSED
    name, *rest = arguments
    if name not in COMMANDS:
        say(f"framebank: there is no command {name!r}\n\n{usage()}")
        return MISUSED
    module, _, function = COMMANDS[name][0].partition(":")
    return run(getattr(importlib.import_module(module), function or "main"), rest)


def run(command: Callable[..., int], arguments: Sequence[str] | None = None) -> int:
    """Run a command; what a user got wrong and what failed end in one clear message, not a traceback.

    Set FRAMEBANK_TRACEBACK=1 to see where an error came from.
    """
    try:
        return command(arguments)
    except KeyboardInterrupt:
        say("framebank: interrupted; what was finished is kept, run the same command to go on")
        return INTERRUPTED
    except Exception as error:
        code = exit_code(error)
        if code is None or os.environ.get("FRAMEBANK_TRACEBACK"):
            raise
        say(f"framebank: {error}")
        return code


def exit_code(error: Exception) -> int | None:
    """2 for a mistake in the request, 1 for failed work, None for an error that is a bug of ours."""
    rooms = (
        "ablations",
        "backbones",
        "decoders",
        "demo",
        "finetune",
        "pipeline",
        "storage",
        "training",
        "video",
    )
    if isinstance(error, ValueError):
        return MISUSED
    ours = type(error).__module__.split(".")[0] in rooms
    return FAILED if ours or isinstance(error, OSError) else None


def usage() -> str:
    """The table of commands."""
    lines = [f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items()]
    return (
        "usage: framebank COMMAND ...\n\n"
        + "\n".join(lines)
        + "\n\n`framebank COMMAND --help` lists a command's options.\n\n"
        + "exit codes: 0 done; 1 the work failed, `verify` found damage or `doctor` a fault; 2 the request\n"
        + "was wrong; 130 interrupted, run the same command to go on"
    )


def say(text: str) -> None:
    """Tell the user, on the error stream."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
