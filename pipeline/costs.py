"""What a bank costs and when it pays, as arithmetic on what was measured. Times in seconds, sizes in bytes.

With C clips listed, of which the share s decodes (the sample's share), V rows a clip, b bytes a clip:

    decode = C · seconds a clip / decode workers
    tower  = C · s · V · seconds a row in the tower / encoders
    keep   = C · s · V · seconds a row to cast, quantise and bring to the CPU / encoders
    write  = C · s · b / write rate
    read   = C · s · b / read rate
    pass   = decode + tower on a CPU, which does both; max(decode, tower) with GPUs, which work beside it

    the bank, E epochs:  once + E · read,  where once = pass (with keep in the tower's time) + write
    online, E epochs:    E · pass
    break-even:          the least whole E for which the bank is cheaper; never, where read >= pass

An epoch is one pass over all clips, of whichever configuration: 10 decoders of 30 epochs each are 300. The
decoder's own steps take the same time on both sides and are left out. Online training decodes and encodes
everything again in each epoch; it would get fresh random crops for that, which a bank of one view has not.
"""

import math
from dataclasses import dataclass

from storage import Attention, Dtype


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a sample of the videos, the tower and the disk showed."""

    listed: int
    """C, clips of the source."""
    sampled: int
    """Clips that were decoded, or tried."""
    written: int
    """Those of them that gave frames."""
    decode: float
    """Seconds a sampled clip in one decode worker, failed ones included."""
    tower: float
    """Seconds a row in the tower, on one core or one GPU."""
    keep: float
    """Seconds a row from the tower's taps to the bank's arrays, likewise."""
    write_rate: float
    """Bytes a second, synced."""
    read_rate: float
    """Bytes a second, not from memory."""
    cold: bool
    """Whether reading truly went to the disk, as far as can be told."""

    @property
    def share(self) -> float:
        """s, the share of clips that give frames."""
        return self.written / self.sampled


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """How much works at once on this machine."""

    decoders: int
    """Decode workers, one core each."""
    encoders: int
    """Encoders that do not share a core or GPU."""
    gpus: int
    """GPUs; 0 where the CPU encodes as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """Seconds of each stage over all clips, each by itself."""

    decode: float
    """Decoding, on all workers."""
    encode: float
    """Tower and keeping, on all encoders."""
    write: float
    """Writing all bytes."""

    @property
    def limit(self) -> str:
        """The stage that takes longest."""
        return max(("decode", "encode", "write"), key=lambda name: getattr(self, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One way to keep a bank against running the tower online."""

    bytes_per_clip: float
    """b."""
    bytes: float
    """Of the whole bank."""
    once: float
    """Seconds until the bank is there."""
    read: float
    """Seconds to read all of it once, an epoch's share of the disk."""
    online: float
    """Seconds to decode and encode everything once, an epoch's share without a bank."""
    feed: float
    """Bytes a second that feed a training run at the speed asked about."""
    epochs: int | None
    """Epochs, over all configurations together, from which the bank is cheaper; None for never."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One attention mode and type, and what a bank of it costs."""

    attention: Attention
    dtype: Dtype
    account: Account | None = None
    """None where it cannot be kept so."""
    refused: str = ""
    """Why not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """All that the command says."""

    source: str
    place: str
    free: int | None
    """Bytes free there; None for a bucket."""
    tower: str
    """Name and precision."""
    device: str
    views: int
    """Rows of a clip."""
    measured: Measured
    reasons: dict[str, int]
    """Why sampled clips gave no frames."""
    workers: Workers
    stages: Stages
    """Of the bank as asked for."""
    asked: Way
    ways: list[Way]
    clips_per_second: float


def stages(measured: Measured, workers: Workers, views: int, bytes_per_clip: float) -> Stages:
    """How long each stage takes over all clips."""
    clips = measured.listed * measured.share
    return Stages(
        decode=measured.listed * measured.decode / workers.decoders,
        encode=clips * views * (measured.tower + measured.keep) / workers.encoders,
        write=clips * bytes_per_clip / measured.write_rate,
    )


def one_pass(decode: float, encode: float, workers: Workers) -> float:
    """Decoding and encoding everything once: one after the other on a CPU, side by side with GPUs."""
    return max(decode, encode) if workers.gpus else decode + encode


def account(
    measured: Measured, workers: Workers, *, views: int, bytes_per_clip: float, clips_per_second: float
) -> Account:
    """What one way to keep a bank costs, and when it pays.

    Args:
        views: V, rows of a clip; an epoch with or without a bank sees all of them.
        clips_per_second: speed at which a decoder takes clips, for what feeds it.
    """
    found = stages(measured, workers, views, bytes_per_clip)
    clips = measured.listed * measured.share
    once = one_pass(found.decode, found.encode, workers) + found.write
    online = one_pass(found.decode, clips * views * measured.tower / workers.encoders, workers)
    read = clips * bytes_per_clip / measured.read_rate
    return Account(
        bytes_per_clip=bytes_per_clip,
        bytes=clips * bytes_per_clip,
        once=once,
        read=read,
        online=online,
        feed=bytes_per_clip * clips_per_second,
        epochs=break_even(once, read, online),
    )


def break_even(once: float, read: float, online: float) -> int | None:
    """The least whole E with once + E · read < E · online; None where there is none."""
    return None if read >= online else math.floor(once / (online - read)) + 1
