"""Errors that end a command or a job with a message instead of a traceback."""


class InvalidInput(ValueError):
    """Input is not accepted; the message gives the value, what is accepted and what to do."""


class UnreadableFile(Exception):
    """A file cannot be read; the message says why and what to do, without the file's name."""


class RetryLater(Exception):
    """Something is not available now; the same call may succeed later."""


class SetupError(Exception):
    """This machine, or the stack on it, is not ready; the message says what to do."""
