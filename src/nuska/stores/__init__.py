"""Storage drivers, one package per engine; each keeps the promises of interfaces/storage.py."""
