from video.clip import Clip
from video.decode import Video, decoder_versions, open_video
from video.errors import DecodeError, InputError, VideoError
from video.faults import Fault, Stage
from video.inputs import iter_clips, list_clips
from video.quality import Quality
from video.ranges import read_bytes
from video.sampling import Sampling, frame_indices
from video.views import DecodedClip, ViewPlan, decode_bytes, decode_views

__all__ = [
    "Clip",
    "DecodeError",
    "DecodedClip",
    "Fault",
    "InputError",
    "Quality",
    "Sampling",
    "Stage",
    "Video",
    "VideoError",
    "ViewPlan",
    "decode_bytes",
    "decode_views",
    "decoder_versions",
    "frame_indices",
    "iter_clips",
    "list_clips",
    "open_video",
    "read_bytes",
]
