"""What a user can cause and mend."""


class NanopoetError(ValueError):
    """A mistake in the input: the message says where, what is allowed and what to do.

    The stages print it on one line and exit with status 1. Any other exception
    is a bug of ours and keeps its traceback.
    """
