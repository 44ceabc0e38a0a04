"""``python -m crdtstats`` is the command ``crdtstats``."""

import sys

from crdtstats.cli import main

sys.exit(main())
