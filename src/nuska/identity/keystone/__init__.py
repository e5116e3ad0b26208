"""OpenStack Identity (Keystone, version 3): whose a token is, and tokens for those who trusted us.

``calls`` speaks to Keystone, ``service_token`` keeps the service logged in, ``tokens`` says whose
a caller's token is, ``trusts`` gets tokens for callers who let the service act for them later.
Nothing here looks at a catalogue: Keystone is where the settings say.
"""
