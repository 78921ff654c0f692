"""Mistakes in the configuration are told all at once, with their places."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from harness.gate import Gate, binary

if TYPE_CHECKING:
    from pathlib import Path


def serve(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in (binary(), "serve", *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_configuration_that_these_tests_use_is_in_order(gate: Gate) -> None:
    done = serve("--config", gate.config, "--check")
    assert done.returncode == 0, done.stderr


def test_every_mistake_is_named(gate: Gate, tmp_path: Path) -> None:
    text = gate.config.read_text()
    for old, new in (
        ("store = ", "stroe = "),
        ("cli_client_id = ", "# cli_client_id = "),
        ('mode = "enforce"', 'mode = "warn"'),
        ('max_age = "7d"', 'max_age = "soon"'),
        ("file:argocd.token", "file:there-is-none"),
    ):
        assert old in text, old
        text = text.replace(old, new, 1)
    file = tmp_path / "syncgate.toml"
    file.write_text(text)
    done = serve("--config", file)
    assert done.returncode == 64, done.stderr
    for key in (
        "stroe",
        "oidc[0].cli_client_id",
        "environment[0].mode",
        "environment[1].requires[0].max_age",
        "upstream.token",
    ):
        assert f"  {key}: " in done.stderr, f"{key} is not named\n{done.stderr}"
    assert done.stdout == ""
