"""Which codecs this installation decodes: PyAV brings an FFmpeg of its own, and which decoders are in it
depends on who built it.
"""

import importlib

import av
import av.codec

DECODERS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1"),  # FFmpeg's own `av1` decodes on some GPUs only
    "mpeg4": ("mpeg4",),
    "mjpeg": ("mjpeg",),
}
"""Codec to FFmpeg's names of the decoders that do it on a CPU."""


def ffmpeg_version() -> str:
    """Version of the FFmpeg that PyAV brings."""
    return str(av.ffmpeg_version_info)


def missing_codecs() -> list[str]:
    """The codecs of DECODERS that cannot be decoded here."""
    return [codec for codec, names in DECODERS.items() if not any(has_decoder(name) for name in names)]


def has_decoder(name: str) -> bool:
    """Whether FFmpeg has a decoder of this name."""
    try:
        av.codec.Codec(name, "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def decord_fault() -> str:
    """Why decord cannot be used; empty where it can."""
    try:
        importlib.import_module("decord")
    except (ImportError, OSError, RuntimeError) as error:
        return str(error).strip().splitlines()[0]
    return ""
