"""The same jobs through Nuska over WebSocket, and through other brokers by their own clients."""
