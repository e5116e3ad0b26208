"""A thin layer over uvicorn: bounds on every connection, and an orderly stop.

uvicorn parses (through httptools) and speaks ASGI; here are the limits it has no setting
for, and the answers it would give in its own words. No API knowledge and no Falcon.
"""
