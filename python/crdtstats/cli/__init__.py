"""The command line: ``crdtstats COMMAND ...``.

Exit codes: 0 fine, 1 the store says no, 2 wrong use. An error is one line on stderr.
"""

from __future__ import annotations

from crdtstats.cli.main import main

__all__ = ["main"]
