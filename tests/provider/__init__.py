"""A stub of an OpenAI-compatible provider. The name of the model selects its behaviour.

In a test: `with running() as provider:`. As a process: `python -m tests.provider --port 9000`.
See README.md.
"""

from tests.provider.server import Provider, Request, running

__all__ = ["Provider", "Request", "running"]
