"""Hypothesis profiles: `ci`, `quick` (no shrinking) or `thorough`, named by ASOF_TEST_PROFILE in the environment."""

import os

from hypothesis import HealthCheck, Phase, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("ci", max_examples=20, deadline=None, print_blob=True, suppress_health_check=_SLOW)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=1000)
settings.register_profile("quick", settings.get_profile("ci"), phases=[Phase.explicit, Phase.reuse, Phase.generate])
settings.load_profile(os.environ.get("ASOF_TEST_PROFILE", "ci"))
