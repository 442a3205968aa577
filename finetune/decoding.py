"""Decoding beside the tower: several child processes, each with one video in flight.

A decoder that crashes or hangs takes its child with it, never the run, and one video is known to be the
cause (`video/decode_process.py`). Threads of this process wait for the children, so that frames are there
when they are wanted; a core decodes and crops some 10 to 30 clips of 8 frames a second.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from finetune.failures import Failures
from video import Clip, DecodedClip, DecodeError, ViewPlan
from video.decode_process import DecodeProcess

SECONDS = 300.0
"""Wall-clock limit of one video."""
MEMORY_GB = 4.0
"""Limit of a child's resident memory, in 10^9 bytes."""


class Decoders:
    """So many children, started when they are first needed. As a context manager it ends them."""

    def __init__(self, processes: int) -> None:
        if processes < 1:
            raise ValueError(f"expected at least 1 process that decodes, found {processes}")
        self.processes = processes
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="framebank-decode")
        self._own = threading.local()
        self._children: set[DecodeProcess] = set()
        self._over = False
        self._lock = threading.Lock()

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._over = True
            children = list(self._children)
        for child in children:
            child.stop()  # whoever waits for its answer hears that it died
        self._threads.shutdown()

    def submit(self, clip: Clip, plan: ViewPlan) -> "Future[DecodedClip]":
        """The views of a clip, once there is a child free; the future raises DecodeError."""
        return self._threads.submit(self._decode, clip, plan)

    def in_order(
        self, clips: Iterable[Clip], plan: ViewPlan, *, ahead: int = 0
    ) -> "Iterator[DecodedClip | DecodeError]":
        """The views of each clip in its turn, or why there are none; `ahead` clips, by default two a process,
        are decoded, or being so, beside the one in use.
        """
        left, waiting = iter(clips), deque[Future[DecodedClip]]()
        while True:
            while len(waiting) < (ahead or 2 * self.processes) and (clip := next(left, None)) is not None:
                waiting.append(self.submit(clip, plan))
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except DecodeError as error:
                yield error

    def submit_first(
        self, numbers: Iterable[int], clips: Sequence[Clip], plan: ViewPlan, failures: Failures
    ) -> "Future[tuple[int, DecodedClip]]":
        """The first of some clips, by number, that can be decoded; the future raises DecodeError where none
        can. What cannot is noted, and not tried again.
        """
        return self._threads.submit(self._first, numbers, clips, plan, failures)

    def _first(
        self, numbers: Iterable[int], clips: Sequence[Clip], plan: ViewPlan, failures: Failures
    ) -> tuple[int, DecodedClip]:
        reason = DecodeError("every one of them had failed before")
        for number in numbers:
            if number in failures:
                continue
            try:
                return number, self._decode(clips[number], plan)
            except DecodeError as error:
                if self._over:
                    raise
                reason = error
                failures.note(number, error.reason)
        raise reason

    def _decode(self, clip: Clip, plan: ViewPlan) -> DecodedClip:
        child: DecodeProcess | None = getattr(self._own, "child", None)
        if child is None or not child.usable:
            self._drop(child)
            child = self._own.child = self._started(clip)
        try:
            return child.decode(clip, plan, seconds=SECONDS, memory_gb=MEMORY_GB)
        except OSError as error:  # its connection was closed under way
            raise DecodeError("decoding was ended", clip.key) from error

    def _started(self, clip: Clip) -> DecodeProcess:
        """A new child, unless it would outlive this."""
        with self._lock:
            if self._over:
                raise DecodeError("decoding was ended", clip.key)
            child = DecodeProcess()
            self._children.add(child)
        return child

    def _drop(self, child: DecodeProcess | None) -> None:
        if child is not None:
            self._children.discard(child)
            child.stop()
