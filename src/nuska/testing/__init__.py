"""Published test kit: manual clock and the conformance suite every store must pass."""
