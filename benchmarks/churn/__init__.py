"""Whether tables stop growing while messages come and go: ``python -m benchmarks.churn``."""
