"""What Hypothesis draws may take as long as it takes: a slow machine fails no test."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "untimed",
    deadline=None,
    # A temporary folder of the test, which all draws share, is written anew for each.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("untimed")
