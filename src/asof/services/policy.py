"""The rules of a project as people write them: `access.toml`, beside `asof.toml`."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from asof.errors import ConfigError
from asof.plan.access import PERSONAL, Grant

if TYPE_CHECKING:
    from pathlib import Path

    from asof.config import Config
    from asof.interfaces.access import AccessStore

FILE_NAME = "access.toml"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a private key; what needs no key or a shared one cannot be checked with what is public."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Rule(Grant, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grant for tokens whose roles claim has one of these values."""

    claims: tuple[str, ...]


class Oidc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose tokens are taken.

    Attributes:
        issuer: The `iss` of tokens, to the letter.
        audience: One of the tokens' `aud`.
        jwks_url: Where the issuer publishes its keys.
        algorithms: What tokens may be signed with.
        leeway_s: How far the clocks of issuer and server may differ.
        name_claim: The claim that names the user in the audit log.
        roles_claim: The claim, a text or a list, that rules look at; dots lead into objects.
    """

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    leeway_s: float = 30
    name_claim: str = "sub"
    roles_claim: str = "roles"


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in `access.toml`.

    Attributes:
        personal: Patterns of the tags of personal data.
        public: Pages of the server that need no key besides health and documentation.
        rules: What users with tokens may do; keys carry their own.
    """

    personal: tuple[str, ...] = PERSONAL
    public: tuple[Literal["/metrics"], ...] = ()
    oidc: Oidc | None = None
    rules: tuple[Rule, ...] = ()


def load_policy(root: Path) -> Policy:
    """Return the policy of the project at `root`; without a file, one that takes API keys only.

    Raises:
        ConfigError: the file cannot be read, or says what cannot be.
    """
    file = root / FILE_NAME
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read", why=str(error), fix="Make it a readable UTF-8 file.") from error
    try:
        policy = msgspec.convert(tomllib.loads(text), Policy)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML", why=str(error), fix="Correct it.") from error
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{file} is not a policy", why=str(error).replace("`", ""), fix="docs/access.md shows what it can say."
        ) from error
    _check(file, policy)
    return policy


def is_on(config: Config, store: AccessStore) -> bool:
    """Return whether a project asks who people are: it was set, or there is a policy or a key."""
    return config.access == "on" or (config.root / FILE_NAME).exists() or bool(store.all_keys())


def _check(file: Path, policy: Policy) -> None:
    oidc = policy.oidc
    if oidc is None:
        if policy.rules:
            raise ConfigError(
                f"{file} has rules and no issuer of tokens",
                why="Rules are for tokens; API keys carry their own",
                fix="Add a section [oidc] with issuer, audience and jwks_url.",
            )
        return
    if not oidc.algorithms or set(oidc.algorithms) - set(ALGORITHMS):
        raise ConfigError(
            f"algorithms in {file} is {list(oidc.algorithms)}",
            why="Tokens are checked with public keys, with which no other signature can be checked",
            fix=f"Choose of {', '.join(ALGORITHMS)}.",
        )
    url = urlsplit(oidc.jwks_url)
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
        raise ConfigError(
            f"jwks_url in {file} is {oidc.jwks_url!r}",
            why="Whoever can change what it answers can issue tokens",
            fix="Give an https:// URL.",
        )
    if not oidc.issuer or not oidc.audience or oidc.leeway_s < 0:
        raise ConfigError(f"{file} has an empty issuer or audience, or a negative leeway", fix="Correct it.")
    if any(not rule.claims for rule in policy.rules):
        raise ConfigError(f"A rule in {file} names no claims", fix='Write claims = ["data-scientists"].')
