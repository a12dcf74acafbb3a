"""Hypothesis profiles. `ci` (the default) draws the same examples every time; `soundness` is the long run; `mutation`
is for `tools/mutate.py`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

SLOW = (HealthCheck.too_slow,)

settings.register_profile("ci", derandomize=True, database=None, deadline=None, suppress_health_check=SLOW)
settings.register_profile("dev", deadline=None, suppress_health_check=SLOW)
settings.register_profile("soundness", max_examples=10_000, deadline=None, suppress_health_check=SLOW)
settings.register_profile(
    "mutation", max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=SLOW,
    phases=(Phase.explicit, Phase.generate),  # a failure is enough: it is not made smaller
)  # fmt: skip
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
