"""Whom the service believes: the table ``[auth]`` of the settings."""

from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from nuska.addresses import is_loopback

Strategy = Literal["none", "keys", "keystone", "jwt"]
_Rsa = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
_Curves = Literal["ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
Algorithm = Literal[_Rsa, _Curves]
"""All of public keys. There is no ``none`` here, and nothing with a shared secret."""
ROLE_SEPARATOR = "="


class AuthSettings(Struct, frozen=True, kw_only=True):
    auth_strategy: Annotated[
        Strategy,
        Meta(
            description="Who says whom a request comes from: `keystone`; `jwt`, an issuer of "
            "tokens; `keys`, the service's own [API keys](keys.md) alone, which are good beside "
            "the other two as well; `none`: the caller himself. See [Who is calling](auth.md)."
        ),
    ] = "none"
    tokens_recheck_after: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="A token that is used later than this after Keystone was asked about it "
            "is asked about again, seconds. Nobody waits for that.",
        ),
    ] = 60
    tokens_believed_for: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="A token is good without a new answer for so long, seconds, and no longer: "
            "a revoked one works at most until then, and so does every one when Keystone is down.",
        ),
    ] = 300
    tokens_kept: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Tokens that are remembered, at most.")
    ] = 10_000
    keystone_url: Annotated[
        str, Meta(description="Where Keystone is, such as `https://keystone.example.net:5000`.")
    ] = ""
    keystone_public_url: Annotated[
        str,
        Meta(description="Where callers reach Keystone, as a 401 tells them; else the same."),
    ] = ""
    keystone_user_name: Annotated[
        str, Meta(description="The service's user, who may validate tokens.")
    ] = "nuska"
    keystone_user_domain: Annotated[str, Meta(description="The user's domain, by name.")] = (
        "Default"
    )
    keystone_password: Annotated[
        str,
        Meta(description="The user's password. It has no flag: others could read it there."),
    ] = ""
    keystone_project_name: Annotated[
        str, Meta(description="The project in which the user has a role.")
    ] = "service"
    keystone_project_domain: Annotated[str, Meta(description="The project's domain, by name.")] = (
        "Default"
    )
    keystone_credential_id: Annotated[
        str,
        Meta(
            description="The id of an application credential, instead of user and password. "
            "Subscribers by `trust+` need a user."
        ),
    ] = ""
    keystone_credential_secret: Annotated[str, Meta(description="Its secret; no flag either.")] = ""
    keystone_timeout: Annotated[
        float, Meta(gt=0, le=60, description="Seconds to wait for Keystone; then it is 503.")
    ] = 5.0
    jwt_issuer: Annotated[
        str, Meta(description="Whose tokens are good: the claim `iss`, to the letter.")
    ] = ""
    jwt_audience: Annotated[
        tuple[str, ...],
        Meta(description="For whom they must be: one of these in the claim `aud`."),
    ] = ()
    jwt_algorithms: Annotated[
        tuple[Algorithm, ...],
        Meta(
            description="How they may be signed: `RS256`, `PS256`, `ES256` and their longer "
            "kind, `Ed25519` or `EdDSA`."
        ),
    ] = ("RS256", "ES256")
    jwt_jwks_url: Annotated[
        str,
        Meta(
            description="Where the issuer's keys are; else as "
            "`ISSUER/.well-known/openid-configuration` says."
        ),
    ] = ""
    jwt_refresh: Annotated[
        int,
        Meta(
            ge=10,
            le=86_400,
            description="The keys are fetched again after this, seconds, and whenever a token "
            "names one that is not known.",
        ),
    ] = 600
    jwt_leeway: Annotated[
        int, Meta(ge=0, le=300, description="Seconds by which the issuer's clock may differ.")
    ] = 30
    jwt_project_claim: Annotated[
        str,
        Meta(description="The claim that holds the project; dots lead into objects."),
    ] = "project_id"
    jwt_roles_claim: Annotated[
        str,
        Meta(description="The claim that holds the roles, such as `realm_access.roles`."),
    ] = "roles"
    jwt_user_claim: Annotated[str, Meta(description="The claim that holds the user.")] = "sub"
    jwt_role_map: Annotated[
        tuple[str, ...],
        Meta(
            description="Roles by other names, such as `mq-admin=admin`. With any, the claim's "
            "other values mean nothing; without, roles are called as the claim says."
        ),
    ] = ()

    @property
    def role_map(self) -> dict[str, str]:
        pairs = (entry.partition(ROLE_SEPARATOR) for entry in self.jwt_role_map)
        return {theirs.strip(): ours.strip() for theirs, _, ours in pairs}


def problems(settings: AuthSettings) -> Iterable[str]:
    """What does not go together, or is missing."""
    if settings.tokens_recheck_after > settings.tokens_believed_for:
        yield "tokens_recheck_after is more than tokens_believed_for"
    if settings.auth_strategy == "keystone":
        yield from _keystone_problems(settings)
    if settings.auth_strategy == "jwt":
        yield from _jwt_problems(settings)


def _keystone_problems(settings: AuthSettings) -> Iterable[str]:
    if not settings.keystone_url:
        yield "auth_strategy is keystone, which needs keystone_url"
    for name in ("keystone_url", "keystone_public_url"):
        if getattr(settings, name) and not _is_url(getattr(settings, name)):
            yield f"{name}: this is not a URL such as https://keystone.example.net:5000"
    if settings.keystone_credential_id:
        if not settings.keystone_credential_secret:
            yield "keystone_credential_id needs keystone_credential_secret"
    elif not settings.keystone_password:
        yield (
            "auth_strategy is keystone, which needs keystone_password, or "
            "keystone_credential_id and keystone_credential_secret"
        )


def _jwt_problems(settings: AuthSettings) -> Iterable[str]:
    if not settings.jwt_issuer:
        yield "auth_strategy is jwt, which needs jwt_issuer"
    if not any(settings.jwt_audience):
        yield "auth_strategy is jwt, which needs jwt_audience: tokens for others must not be good"
    if not settings.jwt_algorithms:
        yield "jwt_algorithms: there must be one"
    where = "jwt_jwks_url" if settings.jwt_jwks_url else "jwt_issuer"
    url = getattr(settings, where)
    if url and not _is_url(url):
        yield f"{where}: this is not a URL such as https://login.example.net/realms/mq"
    elif url and urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname or ""):
        yield f"{where}: keys that come unencrypted can be anybody's; say https"
    for entry in settings.jwt_role_map:
        theirs, separator, ours = entry.partition(ROLE_SEPARATOR)
        if not (theirs.strip() and separator and ours.strip()):
            yield f"jwt_role_map: {entry!r} is not NAME=ROLE"


def _is_url(text: str) -> bool:
    try:
        split = urlsplit(text)
        return (
            split.scheme in ("http", "https")
            and bool(split.hostname)
            and split.username is None
            and not split.query
            and not split.fragment
        )
    except ValueError:
        return False
