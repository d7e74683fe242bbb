"""Hypothesis profiles, chosen by HYPOTHESIS_PROFILE: `long` searches for hours' worth of examples,
`unshrunk` says whether something fails and does not look for the smallest case.
"""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "default",
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
settings.register_profile(
    "long", parent=settings.get_profile("default"), max_examples=2000, stateful_step_count=50
)
settings.register_profile(
    "unshrunk",
    parent=settings.get_profile("default"),
    max_examples=200,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
