"""What Git says about the tests' work tree: its commit, and whether files differ from it.

A container usually has neither Git nor a work tree; then nothing is claimed, and it is the gate that knows
which commit is deployed.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class WorkTree:
    """Commit checked out, and files that are changed or not tracked (ignored ones left out)."""

    commit: str
    changed: tuple[str, ...]


def inspect(directory: Path) -> WorkTree | None:
    """Ask Git about the work tree that `directory` is in; `None` if there is none or Git cannot tell."""
    commit = _git(directory, "rev-parse", "--verify", "HEAD^{commit}")
    # A new file that is not tracked counts: a conftest.py can change what every test does.
    status = _git(directory, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal")
    if commit is None or status is None:
        return None
    return WorkTree(commit.strip(), tuple(entry[3:] for entry in status.split("\0") if entry))


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 (fixed words, no shell)
            command, capture_output=True, env=environment, timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "backslashreplace")
