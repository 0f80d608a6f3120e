"""Names and series of the metrics, before anything has happened."""

import re

import pytest
from prometheus_client.metrics import MetricWrapperBase

import maru.server.http_protocol  # noqa: F401  # creates series
import rooms.socket.routing  # noqa: F401  # creates series
from agents import metrics as agents_metrics
from maru.monitoring import http_requests
from maru.monitoring.http_requests import route_class
from rooms import metrics

OURS = [
    metric
    for module in (metrics, agents_metrics, http_requests)
    for metric in vars(module).values()
    if isinstance(metric, MetricWrapperBase)
]
BOUNDED_LABELS = {"reason", "code", "type", "outcome", "kind", "direction", "route", "status"}
"""Labels with a fixed set of values. A new one must not name a team, room, user, model or host."""


@pytest.mark.parametrize("metric", OURS, ids=lambda metric: metric._name)
def test_series_exist_from_the_start_with_bounded_labels(metric: MetricWrapperBase) -> None:
    (family,) = metric.collect()

    assert set(metric._labelnames) <= BOUNDED_LABELS
    series = [sample for sample in family.samples if not sample.name.endswith("_created")]
    assert 1 <= len(series) <= 170
    assert family.documentation


@pytest.mark.parametrize("metric", OURS, ids=lambda metric: metric._name)
def test_name_follows_the_rules_of_prometheus(metric: MetricWrapperBase) -> None:
    """See "Metric and label naming" in the documentation of Prometheus."""
    name = metric._name

    assert re.fullmatch(r"maru(_[a-z]+)+", name)
    assert not name.endswith(("_total", "_count", "_sum", "_bucket"))
    if metric._type == "histogram":
        assert name.endswith("_seconds")


def test_unknown_close_code_of_a_client_makes_no_series() -> None:
    (before,) = metrics.SOCKETS_CLOSED.collect()

    for code in range(3000, 5000):
        metrics.socket_closed(code)

    (after,) = metrics.SOCKETS_CLOSED.collect()
    assert len(after.samples) == len(before.samples)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "page"),
        ("/accounts/login/", "page"),
        ("/metricsx", "page"),
        ("/api/v1/me", "api"),
        ("/api/v1/rooms/1/stream", "stream"),
        ("/readyz", "monitoring"),
    ],
)
def test_route_class_of_a_path(path: str, route: str) -> None:
    assert route_class(path) == route
