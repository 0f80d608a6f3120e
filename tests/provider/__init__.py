"""An OpenAI-compatible provider for tests and load tools: the model's name says how it behaves.

In a test: `with running() as provider:`. Alone: `python -m tests.provider --port 9000`.
"""

from tests.provider.server import Provider, Request, running

__all__ = ["Provider", "Request", "running"]
