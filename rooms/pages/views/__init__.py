"""The pages of rooms. Each view checks a permission or calls a service.

Scripts update the pages over the WebSocket.
"""
