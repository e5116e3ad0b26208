"""Nuska: durable queues, claims and notifications over Zaqar's v2 API.

Importing this package does nothing; ``nuska.assembly`` puts a service together.
"""
