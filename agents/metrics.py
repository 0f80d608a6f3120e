"""The Prometheus metrics of calls to model providers. No label names a host, a model or a team."""

from typing import Final, get_args

from prometheus_client import Counter

from agents.engine_types import FailureCode

PROVIDER_ERRORS: Final = Counter(
    "maru_provider_errors", "Attempts to get an answer that failed, retried ones included", ["code"]
)

for _code in get_args(FailureCode):
    PROVIDER_ERRORS.labels(_code)
