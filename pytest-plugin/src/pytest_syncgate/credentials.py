"""Who we are towards the gate: finds a source of tokens, and reads a fresh token from it for every request.

Never puts a token, or a part of one, into a message. A new kind of credential is one more class with the two members
of `Credential`; a project adds its own by the hook `pytest_syncgate_credential`, without a change here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .settings import Settings

#: Where a Job mounts its projected service-account token, if nothing else is said.
DEFAULT_TOKEN_FILE = Path("/var/run/secrets/syncgate/token")
_LONGEST_TOKEN = 64 * 1024


class CredentialError(Exception):
    """No usable token can be had now; the message says from where one was expected."""


class Credential(Protocol):
    """A source of bearer tokens; threads may ask it at the same time."""

    @property
    def source(self) -> str:
        """Where tokens come from, for people."""

    def token(self) -> str:
        """Return the token as it is now, renewed where that is needed; raises `CredentialError`."""


@dataclass(frozen=True)
class TokenFile:
    """A file that its owner replaces before the token expires, as the kubelet does for a projected token."""

    path: Path

    @property
    def source(self) -> str:
        """Where tokens come from, for people."""
        return f"token file {self.path}"

    def token(self) -> str:
        """Return the token that the file holds now."""
        try:
            with self.path.open("rb") as file:
                content = file.read(_LONGEST_TOKEN + 1)
        except OSError as error:
            raise CredentialError(f"cannot read the {self.source}: {error.strerror}") from None
        return checked(content.decode("ascii", "replace"), self.source)


@dataclass(frozen=True)
class TokenText:
    """A token that was handed over as text and is not renewed."""

    text: str = field(repr=False)
    source: str

    def token(self) -> str:
        """Return the token."""
        return checked(self.text, self.source)


def find(settings: Settings, environ: Mapping[str, str] = os.environ) -> Credential:
    """Choose the source of tokens.

    In order: the configured file, `SYNCGATE_TOKEN`, the role of AWS if that is asked for, a Job's usual mount, the
    token endpoint of GitHub Actions, the ID token of GitLab. Raises `CredentialError` if there is none, or if the one
    chosen has no usable token: a source that was named and is broken never falls through to the next. A token endpoint
    is not asked yet.
    """
    credential = _choose(settings, environ)
    if isinstance(credential, (TokenFile, TokenText)):
        credential.token()
    return credential


def _choose(settings: Settings, environ: Mapping[str, str]) -> Credential:
    if settings.token_file is not None:
        return TokenFile(settings.token_file)
    if environ.get("SYNCGATE_TOKEN", "").strip():
        return TokenText(environ["SYNCGATE_TOKEN"], "environment variable SYNCGATE_TOKEN")
    if settings.aws:
        return _aws(settings)
    if DEFAULT_TOKEN_FILE.exists():
        return TokenFile(DEFAULT_TOKEN_FILE)
    if environ.get("ACTIONS_ID_TOKEN_REQUEST_URL") and environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        from .github import GitHubToken  # noqa: PLC0415 (knows this module)

        return GitHubToken(
            environ["ACTIONS_ID_TOKEN_REQUEST_URL"], environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"], settings.audience
        )
    if environ.get("SYNCGATE_ID_TOKEN", "").strip():
        return TokenText(environ["SYNCGATE_ID_TOKEN"], "GitLab ID token in SYNCGATE_ID_TOKEN")
    raise CredentialError(
        f"no token found: mount a projected service-account token at {DEFAULT_TOKEN_FILE}, name another file "
        "in SYNCGATE_TOKEN_FILE, or set SYNCGATE_TOKEN; in CI, give the job `permissions: id-token: write` (GitHub) "
        "or an ID token named SYNCGATE_ID_TOKEN (GitLab)"
    )


def _aws(settings: Settings) -> Credential:
    try:
        from .aws import AwsToken  # noqa: PLC0415 (knows this module, and needs botocore)
    except ImportError:
        raise CredentialError(
            "signing in with a role of AWS needs botocore: pip install 'pytest-syncgate[aws]'"
        ) from None
    return AwsToken(settings.url, settings.audience, settings.ca_file)


def checked(text: str, source: str) -> str:
    """Refuse what cannot be a token here, since an HTTP library would quote it in its own error."""
    token = text.strip()
    if not token:
        raise CredentialError(f"the {source} is empty")
    if len(token) > _LONGEST_TOKEN or not all("!" <= char <= "~" for char in token):
        raise CredentialError(f"the {source} does not hold a token (too long, or with blanks or control characters)")
    return token
