"""Reads the metrics of a process as Prometheus does."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.deadlines import DEADLINE

Samples = dict[str, float]
"""Values by name and labels, the labels in alphabetical order: `maru_healed_total{kind="log"}`."""


def scrape(url: str) -> Samples:
    """Return every sample of the process at this address."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=DEADLINE) as response:
        text = response.read().decode()
    return {
        sample.name + _as_text(sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def increases(before: Samples, after: Samples) -> Samples:
    """Return by how much each sample has grown, without those that have not."""
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {name: value for name, value in grown.items() if value > 0}


def _as_text(labels: dict[str, str]) -> str:
    inner = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{inner}}}" if inner else ""
