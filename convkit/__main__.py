"""`python -m convkit` is the command `convkit`."""

import sys

from .cli import main

sys.exit(main())
