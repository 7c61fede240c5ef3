"""The exceptions of rnn-parity. Each message is one line: expected, received, what to do."""

import re

from rnn_parity.system.escaping import shown


class RnnParityError(Exception):
    """Base of every error that this package raises on purpose; the command line exits 2."""

    def __str__(self) -> str:
        """The message on one line, without the control characters of a file's name or words."""
        return shown(re.sub(r"\s*\n\s*", " ", super().__str__()))


class InputError(RnnParityError, ValueError):
    """Unusable input: a wrong shape, a broken file, an unknown option."""


class UnsupportedError(InputError):
    """Something real that is not replayed (yet), refused by name."""


class SourceFailedError(InputError):
    """Another implementation crashed, or gave back what is no answer; the command line exits 1.

    A refusal says what an implementation does not do, and proves nothing about the rest. A crash is
    a mistake in it: it never counts as passed.
    """


class MissingPackageError(RnnParityError, ImportError):
    """A package that this operation needs is not installed; the message names what to install."""
