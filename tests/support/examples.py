"""How many examples the property tests try."""

import os

from hypothesis import HealthCheck, settings

examples = settings(
    max_examples=int(os.environ.get("NANOPOET_EXAMPLES", "150")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
