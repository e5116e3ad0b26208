"""The API's actions in WebSocket messages (contract websocket-v2).

A session is a state machine: messages go in, what is to be done and what is to be sent come
out. It owns no socket and no task; those are the server's (``transport/server/websocket.py``).
"""
