"""JSON Web Tokens of an issuer that the operator trusts (OpenID Connect, OAuth 2).

``issuer_keys`` knows the issuer's public keys, ``tokens`` says whose a token is. Signatures are
checked by joserfc and cryptography.
"""
