"""Stop between two steps, not inside one.

A signal (Ctrl-C, or the SIGTERM a scheduler sends) can arrive while the optimiser has updated half of the
tensors. So the first one only asks: the loop looks at `requested` after each step, saves a checkpoint and
leaves. Requests may be nested: the inner loop stops first, then what called it. A second Ctrl-C interrupts at
once; the last checkpoint on disk is whole then too.
"""

import signal
import threading
from types import FrameType, TracebackType

INTERRUPTED = 130
"""Exit code after a signal, as shells count it."""


class TrainingStopped(KeyboardInterrupt):
    """Asked to stop by a signal; a checkpoint was saved first."""


class StopRequest:
    """Context manager that turns the first SIGINT or SIGTERM into `requested`.

    Python delivers signals to the main thread only; in another thread nothing is caught.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        before = getattr(self._before.get(number), "__self__", None)
        self.requested = True
        self._restore()
        if isinstance(before, StopRequest):  # who opened the outer one is to stop too
            before._ask(number, frame)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before.clear()
