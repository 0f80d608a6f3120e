"""The server process: uvicorn, ASGI application, lifespan and static files."""
