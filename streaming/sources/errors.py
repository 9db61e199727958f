"""What can be wrong with a source as a whole.

Belongs here: the error. Does not belong here: a wrong row, which gets its verdict and goes to quarantine.
"""

from __future__ import annotations


class SourceError(Exception):
    """A file cannot be read on; the message names the file and the place. Rows before it are in the account."""
