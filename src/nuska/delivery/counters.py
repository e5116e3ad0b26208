"""What the deliveries of one process have come to; ``metrics`` shows it."""


class DeliveryCounters:
    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0
        """Attempts that are repeated."""
        self.exhausted = 0
        """Deliveries that were given up."""
        self.missed = 0
        """Deliveries whose message had expired, or was purged, before its turn."""
        self.disabled = 0
        """Subscriptions that were disabled here."""
        self.flushes = 0
        self.failures = 0
        """Times that the store did not let work go on."""
