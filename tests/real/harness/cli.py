"""The stock `argocd` CLI, as people use it: a configuration folder of its own, and no help from the tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from . import browser

# `argocd app sync` waits for hooks; those of the shop end within seconds.
_SECONDS = 120


@dataclass(frozen=True)
class Result:
    """How one command ended, and what it printed."""

    command: str
    code: int
    out: str
    err: str

    def ok(self) -> Result:
        """This result, if the command ended well."""
        assert self.code == 0, f"{self}"
        return self

    def refused(self) -> str:
        """The sentence with which the CLI gave up: exit code 20 is its code for an error of the API."""
        assert self.code == 20, f"{self}"
        return self.fatal

    @property
    def fatal(self) -> str:
        """The message of the last line of the log that is fatal."""
        for line in reversed(self.err.splitlines()):
            if line.startswith("{"):
                entry = json.loads(line)
                if entry.get("level") == "fatal":
                    return str(entry["msg"])
        return ""

    def __str__(self) -> str:
        return (
            f"$ {self.command}\nexit code {self.code}\n--- standard output\n{self.out}\n--- standard error\n{self.err}"
        )


@dataclass
class Cli:
    """One person at one computer, who talks to one server."""

    program: Path
    server: str
    """The URL of a gate, or of argocd-server itself."""
    ca: Path
    home: Path
    grpc_web: bool = False
    token: str | None = None
    """What `ARGOCD_AUTH_TOKEN` holds; without it, what `login` has stored counts."""
    extra: list[str] = field(default_factory=list)
    core: Path | None = None
    """The kubeconfig with which to talk to Kubernetes and to no server, as `--core` does."""

    @property
    def address(self) -> str:
        return urlsplit(self.server).netloc

    @property
    def config(self) -> Path:
        return self.home / "argocd" / "config"

    def environment(self) -> dict[str, str]:
        self.home.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "ARGOCD_CONFIG_DIR": str(self.config.parent),
            "SSL_CERT_FILE": str(self.ca),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        if self.core is not None:
            env["KUBECONFIG"] = str(self.core)
        if self.token is not None:
            env["ARGOCD_AUTH_TOKEN"] = self.token
        return env

    def arguments(self, *arguments: str) -> list[str]:
        if self.core is not None:
            return [str(self.program), *arguments, "--core"]
        web = ["--grpc-web"] if self.grpc_web else []
        server = [] if arguments[0] == "login" else ["--server", self.address]
        return [str(self.program), *arguments, *server, *web, *self.extra]

    def run(self, *arguments: str, within: float = _SECONDS) -> Result:
        """Runs one command to its end."""
        command = self.arguments(*arguments)
        shown = " ".join(["argocd", *command[1:]])
        try:
            done = subprocess.run(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=within,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            out, err = (text.decode(errors="replace") if text else "" for text in (late.stdout, late.stderr))  # type: ignore[union-attr]
            raise AssertionError(f"not ended after {within} s: {Result(shown, -1, out, err)}") from None
        return Result(shown, done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> object:
        """Runs a command that prints JSON."""
        return json.loads(self.run(*arguments, "-o", "json").ok().out)

    def login_sso(self, login: str) -> Result:
        """`argocd login --sso`, with a browser in which `login` signs in."""
        port = free_port()
        command = self.arguments("login", self.address, "--sso", "--sso-launch-browser=false", "--sso-port", str(port))
        process = subprocess.Popen(
            command,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stop = threading.Timer(60, process.kill)
        stop.start()
        out, opened = "", False
        try:
            assert process.stdout is not None
            for line in process.stdout:
                out += line
                url = next((word for word in line.split() if word.startswith("http") and "/auth?" in word), None)
                if url and not opened:  # it is printed twice
                    opened = True
                    page = browser.visit(browser.sign_in(url, login))
                    assert page.status_code == 200, page.text
            _, err = process.communicate(timeout=30)
        finally:
            stop.cancel()
            process.kill()
            process.wait(timeout=10)
        return Result(" ".join(["argocd", *command[1:]]), process.returncode, out, err)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
