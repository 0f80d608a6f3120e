"""Records the access that is revoked in a test."""

from collections.abc import Callable

import pytest

from accounts.hooks import AccessRevoked, AccountHooks, account_hooks


class _Observer(AccountHooks):
    def __init__(self, observe: Callable[[AccessRevoked], None]) -> None:
        self._observe = observe

    def access_revoked(self, event: AccessRevoked) -> None:
        self._observe(event)


def observe_revocations(
    monkeypatch: pytest.MonkeyPatch, observe: Callable[[AccessRevoked], None]
) -> None:
    """Call `observe` with each AccessRevoked until the end of the test, before all other hooks."""
    hooks = [*account_hooks._implementations, _Observer(observe)]
    monkeypatch.setattr(account_hooks, "_implementations", hooks)


def record_revocations(monkeypatch: pytest.MonkeyPatch) -> list[AccessRevoked]:
    """Return a list that gets each AccessRevoked until the end of the test."""
    revoked: list[AccessRevoked] = []
    observe_revocations(monkeypatch, revoked.append)
    return revoked
