"""Types for all rooms."""

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
"""A NumPy array; each docstring gives its shape and dtype."""
