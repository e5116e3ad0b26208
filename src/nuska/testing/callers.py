"""Who may call, for the tables of expectations: the people of one project and of another, with
every kind of credential that there is, and what each role may do."""

import warnings
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet, OKPKey

from nuska.core.key_records import KeyRecords
from nuska.core.key_uses import KeyUses
from nuska.core.keys import KeyDraft, KeyService
from nuska.core.sharing import SharingRules
from nuska.domain.errors import NotAuthenticated
from nuska.domain.moments import Moment
from nuska.domain.signing import SignedTerms, Signer
from nuska.identity.chosen import ChosenIdentity
from nuska.identity.jwt.tokens import ClaimRules, JwtTokens
from nuska.identity.keys import KeyTokens
from nuska.interfaces.identity import Caller, Verified
from nuska.stores.memory.records import MemoryRecords
from nuska.testing.clock import ManualClock, seeded_bytes

PROJECT, OTHER = "acme", "rival"
CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
KEY = "nuska-demo-secret"
FAR = Moment(1_930_367_167_000)  # 2031-03-04T05:06:07Z
CHALLENGE = 'Keystone uri="https://id.example"'
ISSUER, AUDIENCE = "https://login.example", "mq"

ANYBODY = "open to anybody"
READ = "who may look"
WRITE = "who may change"
OPERATE = "the operator"


def roles_that_may(needs: str) -> dict[str, bool]:
    """By the roles of a credential."""
    return {
        "": needs != OPERATE,
        "reader": needs in (READ, ANYBODY),
        "member": needs != OPERATE,
        "reader,member": needs != OPERATE,
        "stack_owner": needs != OPERATE,
        "admin": True,
    }


class PublishedKeys:
    """What an issuer publishes, without a server that would have to be asked."""

    def __init__(self, key: OKPKey) -> None:
        self._keys = KeySet([key])

    async def current(self, _kid: str | None) -> KeySet:
        return self._keys


class Tokens:
    """Verifies tokens: of some the text says what they prove, as if somebody had been asked; the
    others must be JSON Web Tokens."""

    def __init__(self, jwt: JwtTokens) -> None:
        self._jwt = jwt

    def cached(self, token: str) -> Verified | None:
        project, _, roles = token.partition("/")
        if project not in (PROJECT, OTHER):
            return None
        return Verified(project=project, roles=frozenset(filter(None, roles.split(","))))

    async def verify(self, token: str) -> Verified:
        if token.count(".") != 2:
            raise NotAuthenticated(f"the token {len(token)} is not good")
        return await self._jwt.ask(token)

    def watch(self, token: str, verified: Verified) -> "Unchanged":
        return Unchanged(verified)


class Unchanged:
    """A token that stays what it was until it expires."""

    def __init__(self, verified: Verified) -> None:
        self._verified = verified

    def look(self) -> Verified:
        return self._verified


class People:
    """Those who call, and what a service believes them by."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.signer = Signer(KEY)
        self.sharing = SharingRules(signer=self.signer)
        records = KeyRecords(MemoryRecords())
        self.keys = KeyService(records, self.clock, seeded_bytes(7))
        held = KeyTokens(self.keys, KeyUses(records, self.clock), self.clock, seeded_bytes(8))
        self._issuer_key = OKPKey.generate_key("Ed25519", {"kid": "k", "use": "sig"})
        self.identity = ChosenIdentity(held, Tokens(self._jwts()), challenge=CHALLENGE)

    def _jwts(self) -> JwtTokens:
        published: Any = PublishedKeys(self._issuer_key)
        rules = ClaimRules(
            issuer=ISSUER,
            audiences=(AUDIENCE,),
            algorithms=("EdDSA",),
            project="project_id",
            roles="roles",
            user="sub",
            role_map={},
            leeway=0,
        )
        return JwtTokens(published, self.clock, rules)

    async def key(self, project: str = PROJECT, **draft: Any) -> str:
        made = await self.keys.issue(project, KeyDraft(**draft), by="ann")
        return made.secret

    async def revoked_key(self) -> str:
        key = await self.key()
        await self.keys.revoke(Caller(PROJECT, frozenset({"admin"})), key.split("_")[1])
        return key

    def jwt(
        self,
        roles: str = "member",
        project: str = PROJECT,
        *,
        forged_by: OKPKey | None = None,
        **claims: Any,
    ) -> str:
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": self._seconds() + 300}
        said |= {"project_id": project, "roles": list(filter(None, roles.split(","))), **claims}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA has a newer name
            return jwt.encode(
                {"alg": "EdDSA", "kid": "k"},
                said,
                forged_by or self._issuer_key,
                algorithms=["EdDSA"],
            )

    def _seconds(self) -> int:
        return self.clock.now() // 1000

    def bad_jwts(self) -> dict[str, str]:
        """By what is wrong with them."""
        stranger = OKPKey.generate_key("Ed25519", {"kid": "k", "use": "sig"})
        return {
            "expired": self.jwt(exp=self._seconds()),
            "for somebody else": self.jwt(aud="other"),
            "of somebody else": self.jwt(iss="https://other.example"),
            "forged": self.jwt(forged_by=stranger),
            "of no project": self.jwt(project=""),
        }

    def signed(self, path: str, *methods: str, until: Moment = FAR) -> SignedTerms:
        return self.signer.sign(paths=(path,), methods=methods, project=PROJECT, expires_at=until)
