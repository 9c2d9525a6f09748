"""Tokens are checked against the keys that an issuer publishes, fetched over HTTP, and nothing else will do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from asof.backends.oidc.jwks import LIFETIME_S, PAUSE_S, STALE_S, PublishedKeys
from asof.backends.oidc.verifier import OidcVerifier
from asof.errors import ConfigError, StoreError, UnauthenticatedError
from asof.plan.access import Grant
from asof.services.policy import Oidc, Rule, load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_S = 1_800_000_000
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
CLAIMS: dict[str, Any] = {"sub": "ada", "iss": "https://issuer", "aud": ["asof", "x"], "exp": NOW_S + 60, "iat": NOW_S}
RULES = (Rule(claims=("ml",), role="reader", services=("fraud",)), Rule(claims=("ops", "root"), role="admin"))


def published(key: Any, kid: str, **rest: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    found: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {**found, "kid": kid, "use": "sig", **rest}


class Issuer:
    """Publishes keys on a port of this machine."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [published(RSA, "one"), published(EC, "two")]
        self.asked = 0
        self.status = 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": issuer.keys}).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.stop()


def verifier(issuer: Issuer, **settings: Any) -> OidcVerifier:
    oidc = Oidc(issuer="https://issuer", audience="asof", jwks_url=issuer.url, **settings)
    return OidcVerifier(oidc, RULES)


def token(key: Any = RSA, kid: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
    body = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(body, key, algorithm, headers={"kid": kid} if kid else None)


def test_claims_become_grants(issuer: Issuer) -> None:
    """Each rule whose claim is held gives its grant; a token without any authenticates and may do nothing."""
    found = verifier(issuer)
    ada = found.verify(token(roles=["ml", "else"]), NOW_S * 1_000_000)
    assert (ada.name, ada.grants) == ("user:ada", (Grant(role="reader", services=("fraud",)),))
    assert ada.expires_us == (NOW_S + 60 + 30) * 1_000_000
    both = found.verify(token(EC, "two", "ES256", roles=["ml", "root"]), NOW_S * 1_000_000)
    assert [grant.role for grant in both.grants] == ["reader", "admin"]
    assert found.verify(token(), NOW_S * 1_000_000).grants == ()
    assert found.verify(token(roles="ops"), NOW_S * 1_000_000).grants[0].role == "admin"
    assert issuer.asked == 1


def test_a_path_leads_into_claims(issuer: Issuer) -> None:
    """As some issuers nest them; the name may be another claim."""
    found = verifier(issuer, roles_claim="realm_access.roles", name_claim="email")
    ada = found.verify(token(realm_access={"roles": ["ml"]}, email="ada@example.com"), NOW_S * 1_000_000)
    assert (ada.name, len(ada.grants)) == ("user:ada@example.com", 1)


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def forged() -> dict[str, str]:
    """Return tokens of all the kinds that must not get in."""
    good = token(roles=["ops"])
    header, body, signature = good.split(".")
    public = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{encoded(CLAIMS)}"
    confused = base64.urlsafe_b64encode(hmac.new(public, signed.encode(), hashlib.sha256).digest()).rstrip(b"=")
    flipped = ("A" if signature[5] != "A" else "B").join((signature[:5], signature[6:]))
    return {
        "none": f"{encoded({'alg': 'none'})}.{encoded(CLAIMS)}.",
        "none with a key's id": f"{encoded({'alg': 'none', 'kid': 'one'})}.{encoded(CLAIMS)}.",
        "the public key as a secret": f"{signed}.{confused.decode()}",
        "other claims": f"{header}.{encoded({**CLAIMS, 'roles': ['root']})}.{signature}",
        "another signature": f"{header}.{body}.{flipped}",
        "no signature": f"{header}.{body}.",
        "another's key": token(OTHER),
        "an unknown key": token(OTHER, "three"),
        "a key of another kind": token(RSA, "two"),
        "an algorithm that is not listed": token(RSA, "one", "RS512"),
        "another issuer": token(iss="https://evil"),
        "another audience": token(aud="other"),
        "no audience": token(aud=None),
        "no expiry": token(exp=None),
        "expired": token(exp=NOW_S - 30),
        "not valid yet": token(nbf=NOW_S + 31),
        "issued in the future": token(iat=NOW_S + 31),
        "expiry that is text": f"{header}.{encoded({**CLAIMS, 'exp': 'never'})}.{signature}",
        "no name": token(sub=None),
        "text": "a.b.c",
        "nothing": ".",
    }


@pytest.mark.parametrize("kind", forged())
def test_a_forged_or_misdirected_token_is_refused(issuer: Issuer, kind: str) -> None:
    """Whatever it claims."""
    with pytest.raises(UnauthenticatedError):
        verifier(issuer).verify(forged()[kind], NOW_S * 1_000_000)


def test_clocks_may_differ_by_the_leeway(issuer: Issuer) -> None:
    """To the second."""
    found = verifier(issuer, leeway_s=10)
    found.verify(token(exp=NOW_S - 9, nbf=NOW_S + 10), NOW_S * 1_000_000)
    with pytest.raises(UnauthenticatedError, match="expired"):
        found.verify(token(exp=NOW_S - 10), NOW_S * 1_000_000)


def test_a_published_symmetric_key_is_not_used(issuer: Issuer) -> None:
    """Whoever can read it could sign with it."""
    issuer.keys = [{"kty": "oct", "kid": "one", "k": encoded("secret"), "alg": "HS256"}]
    with pytest.raises(UnauthenticatedError):
        verifier(issuer).verify(token(b"x" * 32, "one", "HS256"), NOW_S * 1_000_000)


def test_keys_rotate(issuer: Issuer) -> None:
    """An unknown key is asked for, once in ten seconds; a withdrawn one is refused once its lifetime is over."""
    now = [1000.0]
    keys = PublishedKeys(issuer.url, monotonic_s=lambda: now[0])
    found = OidcVerifier(Oidc(issuer="https://issuer", audience="asof", jwks_url=issuer.url), RULES, keys)
    old, new = token(), token(OTHER, "three")
    found.verify(old, NOW_S * 1_000_000)
    issuer.keys = [published(OTHER, "three", alg="RS256")]
    for _ in range(50):
        with pytest.raises(UnauthenticatedError):
            found.verify(new, NOW_S * 1_000_000)
    assert issuer.asked == 1
    now[0] += PAUSE_S + 1
    found.verify(new, NOW_S * 1_000_000)
    with pytest.raises(UnauthenticatedError):
        found.verify(old, NOW_S * 1_000_000)
    assert issuer.asked == 2
    now[0] += LIFETIME_S + 1
    found.verify(new, NOW_S * 1_000_000)
    assert issuer.asked == 3


def test_an_issuer_that_is_down_is_survived_for_an_hour(issuer: Issuer) -> None:
    """With the keys that are known; without any, it is the server that cannot tell, not the caller who is wrong."""
    now = [1000.0]
    keys = PublishedKeys(issuer.url, monotonic_s=lambda: now[0])
    found = OidcVerifier(Oidc(issuer="https://issuer", audience="asof", jwks_url=issuer.url), RULES, keys)
    issuer.status = 503
    for _ in range(3):
        with pytest.raises(StoreError, match="cannot be fetched"):
            found.verify(token(), NOW_S * 1_000_000)
    assert issuer.asked == 1
    issuer.status = 200
    now[0] += PAUSE_S + 1
    found.verify(token(), NOW_S * 1_000_000)
    issuer.status = 503
    now[0] += STALE_S - 1
    found.verify(token(), NOW_S * 1_000_000)
    now[0] += PAUSE_S + 1
    with pytest.raises(StoreError):
        found.verify(token(), NOW_S * 1_000_000)


OIDC = '[oidc]\nissuer = "https://i"\naudience = "asof"\njwks_url = "https://i/keys"\n'
WRONG = {
    "no TOML": "rules = [",
    "an unknown key": "rights = 1",
    "rules without an issuer": '[[rules]]\nclaims = ["ml"]\nrole = "reader"\n',
    "a shared secret": OIDC + 'algorithms = ["HS256"]\n',
    "no signature": OIDC + 'algorithms = ["none"]\n',
    "no algorithm": OIDC + "algorithms = []\n",
    "keys in the clear": OIDC.replace("https://i/keys", "http://i/keys"),
    "an unknown role": OIDC + '[[rules]]\nclaims = ["ml"]\nrole = "owner"\n',
    "a rule for nobody": OIDC + '[[rules]]\nclaims = []\nrole = "reader"\n',
    "an open page that must not be": 'public = ["/v1/status"]\n',
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_policy_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "access.toml").write_text(WRONG[kind], encoding="utf-8")
    with pytest.raises(ConfigError):
        load_policy(tmp_path)
