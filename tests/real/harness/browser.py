"""The part of a browser that a sign-in needs: redirects, cookies, and forms that a person would fill in."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx

# Far more pages than any sign-in has.
_PAGES = 20


class _Form(HTMLParser):
    """The first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = values.get("action") or ""
            self._inside = True
        elif tag == "input" and self._inside and values.get("name"):
            self.fields[values["name"] or ""] = values.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def sign_in(url: str, login: str) -> str:
    """Opens `url`, signs in as `login`, consents, and gives the URL of another host to which the provider leads back."""
    provider = urlsplit(url).netloc
    with httpx.Client(timeout=20, trust_env=False) as browser:
        response = browser.get(url)
        for _ in range(_PAGES):
            if response.has_redirect_location:
                target = urljoin(str(response.url), response.headers["location"])
                if urlsplit(target).netloc != provider:
                    return target
                response = browser.get(target)
                continue
            assert response.status_code == 200, f"{response.url}: {response.status_code}\n{response.text}"
            form = _Form()
            form.feed(response.text)
            assert form.action is not None, f"{response.url} has no form\n{response.text}"
            fields = form.fields | {"login": login, "password": "any"} if "login" in form.fields else form.fields
            response = browser.post(urljoin(str(response.url), form.action), data=fields)
    raise AssertionError(f"signing in as {login} did not end: last page {response.url}")


def visit(url: str) -> httpx.Response:
    """Opens one page, without following where it leads; waits a little for its server, which may just be starting."""
    transport = httpx.HTTPTransport(retries=3)
    with httpx.Client(timeout=20, trust_env=False, transport=transport) as browser:
        return browser.get(url)
