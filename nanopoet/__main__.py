"""`python -m nanopoet`: the command `nanopoet`."""

import sys

from nanopoet.app.cli import main

sys.exit(main())
