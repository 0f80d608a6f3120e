"""The services of a module, as the cluster's tests have them."""

from tests.cluster.conftest import _installed, cluster, postgres, provider, redis

__all__ = ["_installed", "cluster", "postgres", "provider", "redis"]
