"""The shapes on the wire, shared by all transports."""
