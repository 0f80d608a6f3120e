"""The ASGI application of a web process: Django serves HTTP, Channels serves the WebSocket."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
pages = get_asgi_application()

# Modules with models can be imported only after get_asgi_application() has called django.setup().
from maru.monitoring.http_requests import CountRequests  # noqa: E402
from maru.server.body_gate import BodyGate  # noqa: E402
from maru.server.lifespan import Lifespan, hub, publisher  # noqa: E402
from maru.server.static import StaticFiles  # noqa: E402
from rooms.socket.routing import websocket_urlpatterns  # noqa: E402
from rooms.socket.sse import SseMiddleware  # noqa: E402

router = ProtocolTypeRouter(
    {
        # CountRequests is inside SseMiddleware, which needs the server's own `send`.
        "http": StaticFiles(SseMiddleware(CountRequests(BodyGate(pages)))),
        "websocket": URLRouter(websocket_urlpatterns),
    }
)
application = Lifespan(router, publisher, hub)
