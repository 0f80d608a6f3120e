"""`python -m tests.provider --port N`: run the stub provider as a process, for load tools."""

import argparse
import asyncio

from tests.provider.server import Provider


async def main(host: str, port: int) -> None:
    """Print the address and serve until interrupted."""
    provider = Provider()
    server = await provider.serve(host, port)
    print(f"provider on http://{host}:{provider.port}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.host, arguments.port))
    except KeyboardInterrupt:
        print("stopped")
