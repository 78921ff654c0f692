"""What was configured: flags, environment and ini file in, one checked `Settings` out.

A flag wins over the environment, which wins over the ini file. An empty value counts as "not set", and an
empty URL in a stronger place switches the plugin off. Mistakes are `pytest.UsageError`s (exit status 4)
that say what to write. Tokens are not settings: a flag is seen in the process list, an ini file is committed.
Settings go to xdist's workers as plain values, so they are read once, in the session's own process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_ENDPOINT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class _Setting:
    """One setting; flag, environment variable and ini key follow from its name."""

    name: str
    help: str
    ini_type: Any = None

    @property
    def flag(self) -> str:
        return "--syncgate-" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        return "SYNCGATE_" + self.name.upper()

    @property
    def ini(self) -> str:
        return "syncgate_" + self.name


_SETTINGS = (
    _Setting("url", "URL of the gate; without it the plugin does nothing"),
    _Setting("application", "Argo CD application whose deployment these tests judge"),
    _Setting("application_namespace", "namespace of that Application, where Argo CD runs applications in several"),
    _Setting("environment", "environment under test (default: the one the application is in)"),
    _Setting("suite", "name of this suite in the gate's requirements (default: integration)"),
    _Setting(
        "commits",
        "commits under test, separated by commas or blanks, one per source; `none` leaves them to the gate "
        "(default: HEAD of the work tree around the tests, if there is one)",
        "args",
    ),
    _Setting("token_file", "file with the token, read again for every request"),
    _Setting("aws", "whether to sign in with the role of AWS that this environment has (default: false)", "bool"),
    _Setting("ca_file", "PEM file with the CA certificates that the gate's certificate is checked against"),
    _Setting("audience", "audience of the tokens that a CI system issues for this gate (default: the gate's URL)"),
    _Setting(
        "endpoints",
        "endpoints under test, separated by commas or blanks: names of the gate's test door, or NAME=URL for one "
        "that has a host of its own; the preflight asks about each",
        "args",
    ),
    _Setting("spool_dir", "folder for attempts that the gate has not acknowledged (default: in pytest's cache)"),
    _Setting(
        "required",
        "whether a session whose run could not be reported, or was refused as evidence, must fail (default: true)",
        "bool",
    ),
    _Setting("preflight", "whether the gate is asked before the first test if all is well (default: true)", "bool"),
    _Setting(
        "retry_seconds",
        "how long to try again while the gate is away, at the start and at the end (default: 60)",
    ),
)


@dataclass(frozen=True)
class Settings:
    """Checked settings of one session."""

    url: str
    application: str
    application_namespace: str | None
    environment: str | None
    suite: str
    #: `None`: ask the work tree; empty: claim nothing, the gate knows what is deployed.
    commits: tuple[str, ...] | None
    token_file: Path | None
    aws: bool
    ca_file: Path | None
    audience: str
    #: Endpoints by name; `None` for the gate's own path, else the URL of the host that the endpoint has.
    endpoints: Mapping[str, str | None]
    spool_dir: Path | None
    required: bool
    preflight: bool
    retry_seconds: float

    def plain(self) -> dict[str, Any]:
        """Return plain values for another process; `of_plain` reads them there."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Settings:
        """Read what `plain` wrote."""
        files = ("token_file", "ca_file", "spool_dir")
        read: dict[str, Any] = {
            name: Path(value) if name in files and value else value for name, value in values.items()
        }
        return cls(**read)


def add_options(parser: pytest.Parser) -> None:
    """Declare every setting as a flag and as an ini key."""
    group = parser.getgroup("syncgate", "syncgate: report tests to the gate in front of Argo CD")
    for setting in _SETTINGS:
        parser.addini(setting.ini, setting.help, type=setting.ini_type, default=None)
        if setting.name not in ("aws", "required", "preflight"):
            group.addoption(setting.flag, metavar=setting.name.upper(), default=None, help=setting.help)
    group.addoption(
        "--syncgate-aws",
        action="store_true",
        dest="syncgate_aws",
        default=None,
        help="sign in with the role of AWS that this environment has",
    )
    group.addoption(
        "--syncgate-required",
        action="store_true",
        dest="syncgate_required",
        default=None,
        help="fail the session if its run could not be reported, or was refused as evidence (default)",
    )
    group.addoption(
        "--no-syncgate-required",
        action="store_false",
        dest="syncgate_required",
        help="only say so in those cases",
    )
    group.addoption(
        "--no-syncgate-preflight",
        action="store_false",
        dest="syncgate_preflight",
        default=None,
        help="do not ask the gate before the first test if all is well",
    )


def load(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Settings | None:
    """Read the settings; `None` if no gate is configured.

    Raises `pytest.UsageError` for a value that cannot be meant.
    """
    values = {setting.name: _lookup(setting, config, environ) for setting in _SETTINGS}
    url = values["url"]
    if not url:
        return None
    application = values["application"]
    if not application:
        raise pytest.UsageError(
            f"syncgate: the gate {url} is configured but no application: set SYNCGATE_APPLICATION, "
            "--syncgate-application or the ini key syncgate_application to the name of the Argo CD application"
        )
    return Settings(
        url=_checked_url(url),
        application=application,
        application_namespace=values["application_namespace"] or None,
        environment=values["environment"] or None,
        suite=values["suite"] or "integration",
        commits=_commits(values["commits"]),
        token_file=_file(values["token_file"], config),
        aws=_boolean("aws", values["aws"], default=False),
        ca_file=_file(values["ca_file"], config),
        audience=values["audience"] or _checked_url(url),
        endpoints=_endpoints(values["endpoints"]),
        spool_dir=_file(values["spool_dir"], config),
        required=_boolean("required", values["required"]),
        preflight=_boolean("preflight", values["preflight"]),
        retry_seconds=_seconds(values["retry_seconds"]),
    )


def _lookup(setting: _Setting, config: pytest.Config, environ: Mapping[str, str]) -> str | None:
    """Text of a setting from the strongest place that has it."""
    value = config.getoption("syncgate_" + setting.name)
    if value is None:
        value = environ.get(setting.env)
    if value is None:
        value = config.getini(setting.ini)
    if value is None or value == []:  # pytest before 8 gives [] for a typed key that is not there
        return None
    return _text(value)


def _text(value: str | bool | Sequence[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.strip() if isinstance(value, str) else " ".join(value)


def _checked_url(text: str, what: str = "the gate's URL") -> str:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise pytest.UsageError(f"syncgate: the URL `{text}` cannot be read: {error}") from None
    if url.scheme not in ("https", "http") or not host:
        raise pytest.UsageError(f"syncgate: the URL `{text}` is not of the form https://gate.example.com")
    if url.username is not None or url.query or url.fragment:
        raise pytest.UsageError(f"syncgate: {what} must have no user name, query or fragment")
    if url.scheme == "http" and host not in _LOOPBACK:
        raise pytest.UsageError(
            f"syncgate: the URL `{text}` would send the token unencrypted to another machine: use https "
            "(a private CA goes into SYNCGATE_CA_FILE)"
        )
    return text.rstrip("/")


def _commits(text: str | None) -> tuple[str, ...] | None:
    if not text:
        return None
    if text == "none":
        return ()
    return tuple(text.replace(",", " ").split())


def _endpoints(text: str | None) -> dict[str, str | None]:
    endpoints: dict[str, str | None] = {}
    for item in (text or "").replace(",", " ").split():
        name, _, url = item.partition("=")
        endpoints[endpoint_name(name)] = _checked_url(url, f"the URL of endpoint {name}") if url else None
    return endpoints


def endpoint_name(text: str) -> str:
    """Check the name of an endpoint, since it becomes part of a URL; raises `pytest.UsageError`."""
    if not _ENDPOINT_NAME.fullmatch(text):
        raise pytest.UsageError(
            f"syncgate: `{text}` is not the name of an endpoint: use lower-case letters, digits, `-` and `.`"
        )
    return text


def _file(text: str | None, config: pytest.Config) -> Path | None:
    # Absolute at once: a test may change the working directory while the token is still being read.
    return Path(config.invocation_params.dir, text).absolute() if text else None


def _boolean(name: str, text: str | None, *, default: bool = True) -> bool:
    if not text:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise pytest.UsageError(f"syncgate: `{name}` must be true or false, not `{text}`")


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text) if text else 60.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise pytest.UsageError(f"syncgate: `retry_seconds` must be a number from 0 to 3600, not `{text}`")
    return seconds
