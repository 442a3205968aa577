"""A function that runs in a process of its own while this one goes on with something else.

The driver of an extraction plans millions of clips in little memory and starts at once: what needs torch and
open_clip (half a gigabyte, seven seconds) is asked of a process that ends with its answer. Where those are
loaded already, in a notebook or a test, nothing would be gained, and the function is simply called.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

from pipeline.errors import ExtractionError

HEAVY = "open_clip"
"""The module whose import is kept out of the driver."""
R = TypeVar("R")


class Aside(Generic[R]):
    """Begins at once; a context manager that ends the process.

    Args:
        function: of a module; it, its arguments and what it returns or raises are pickled.

    Attributes:
        process: the process; None where it is called here.
    """

    def __init__(self, function: Callable[..., R], *arguments: Any) -> None:
        self._call = lambda: function(*arguments)
        self.process = None
        if HEAVY not in sys.modules:
            context = multiprocessing.get_context("spawn")
            self._answers, answer = context.Pipe(duplex=False)
            self.process = context.Process(target=_answer, args=(answer, function, arguments), daemon=True)
            self.process.start()
            answer.close()

    def __enter__(self) -> "Aside[R]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.join()

    def result(self) -> R:
        """What the function returned; waits for it.

        Raises:
            Exception: what it raised.
            ExtractionError: its process died.
        """
        if self.process is None:
            return self._call()
        try:
            returned, raised = self._answers.recv()
        except EOFError:
            self.process.join()
            raise ExtractionError(
                f"the process that loads the tower died (exit code {self.process.exitcode}); if it was -9, "
                "there was not enough memory for it"
            ) from None
        if raised is not None:
            raise raised
        return returned


def _answer(answer: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """In the process: Ctrl-C is for the one that asked, which then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer.send((function(*arguments), None))
    except Exception as error:
        answer.send((None, error))
