"""Ctrl-C ends a sweep, even where a library catches the interrupt and goes on."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

AGAIN = 0.5
"""Seconds after which an interrupt is raised again: unwinding a check takes a tenth of them."""


class Insisting:
    """In a block with this, SIGINT ends the block with `KeyboardInterrupt`, even one swallowed.

    Python drops an exception that arises in a finalizer or a callback, and TensorFlow's objects
    have thousands of them: of seven interrupts of a sweep, three were lost there. So an interrupt
    is noted, raised again while the block goes on, and at its end. Signals arrive in the main
    thread only; where somebody else handles SIGINT, or it is ignored, nothing changes.
    """

    def __enter__(self) -> Insisting:
        handler = signal.getsignal(signal.SIGINT)
        is_usual = handler is signal.default_int_handler
        is_ours = isinstance(getattr(handler, "__self__", None), Insisting)
        is_main = threading.current_thread() is threading.main_thread()
        self.arrived, self.done = False, threading.Event()
        self.again: threading.Thread | None = None
        self.before = handler if is_main and (is_usual or is_ours) else None
        if self.before is not None:
            signal.signal(signal.SIGINT, self.arrive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.done.set()
        finally:
            self.done.set()
            if self.again is not None:
                self.again.join()
            if self.before is not None:
                signal.signal(signal.SIGINT, self.before)
        if self.arrived and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt

    def arrive(self, number: int, frame: FrameType | None) -> None:
        """Note the interrupt and raise it; at the end of the block it is noted alone."""
        self.arrived = True
        if self.done.is_set():
            return
        if self.again is None:
            self.again = threading.Thread(target=self.repeat, daemon=True)
            self.again.start()
        raise KeyboardInterrupt

    def repeat(self) -> None:
        """Interrupt the main thread again until the block has ended."""
        main = threading.main_thread().ident
        while not self.done.wait(AGAIN) and main is not None:
            signal.pthread_kill(main, signal.SIGINT)
