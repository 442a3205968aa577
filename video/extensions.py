"""Which file names are taken for videos and images.

Names only decide what a listing contains; what a file really is, is decided from its bytes when it is opened.
"""

# fmt: off
VIDEO_EXTENSIONS = (
    "3gp", "asf", "avi", "divx", "flv", "gif", "h264", "m2ts", "m4v", "mjpeg", "mjpg", "mkv", "mov",
    "mp4", "mpeg", "mpg", "mts", "mxf", "ogg", "ogv", "ts", "vob", "webm", "wmv", "y4m",
)
# fmt: on
IMAGE_EXTENSIONS = ("jpeg", "jpg", "png", "webp")
MEDIA_EXTENSIONS = frozenset(VIDEO_EXTENSIONS + IMAGE_EXTENSIONS)


def is_media(name: str) -> bool:
    """True if the name ends like a video or an image and is not a hidden file."""
    stem, dot, extension = name.rpartition(".")
    return bool(dot and stem) and not stem.startswith(".") and extension.lower() in MEDIA_EXTENSIONS


def is_still(name: str) -> bool:
    """True if the name ends like an image's; an animated GIF is a video."""
    return name.lower().endswith(tuple(f".{extension}" for extension in IMAGE_EXTENSIONS))


def kinds() -> str:
    """The extensions, for error messages."""
    return ", ".join(sorted(MEDIA_EXTENSIONS))
