"""How hypothesis runs here: the same examples every time, no deadline, nothing written to disk.

``HYPOTHESIS_PROFILE=search`` looks for new examples, and for more of them.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_QUIET = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("core", max_examples=60, derandomize=True, **_QUIET)
settings.register_profile("search", max_examples=1000, **_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "core"))
