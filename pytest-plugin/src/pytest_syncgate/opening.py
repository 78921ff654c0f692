"""What the gate is told when a run opens: what is tested, by what, and how the tests were selected.

In: pytest's configuration and what was collected. Out: the body of `POST /syncgate/v1/runs`, within the bounds
that the gate sets. Never: an option that may hold a secret; only those named here are told.
"""

from __future__ import annotations

import hashlib
import platform

import pytest

from . import __version__
from .attempts import clean_name, timestamp
from .client import Json
from .settings import Settings
from .worktree import WorkTree

#: Options that decide which tests run and what counts as a failure; others may hold secrets and are not told.
_TOLD_OPTIONS = {
    "keyword": "-k",
    "markexpr": "-m",
    "deselect": "--deselect",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
    "lf": "--last-failed",
    "stepwise": "--stepwise",
    "stepwise_skip": "--stepwise-skip",
    "maxfail": "--maxfail",
    "runxfail": "--runxfail",
    "setuponly": "--setup-only",
    "continue_on_collection_errors": "--continue-on-collection-errors",
    "noconftest": "--noconftest",
    "doctestmodules": "--doctest-modules",
    "pyargs": "--pyargs",
    "plugins": "-p",
    "reruns": "--reruns",
    "only_rerun": "--only-rerun",
    "rerun_except": "--rerun-except",
    "numprocesses": "--numprocesses",
    "dist": "--dist",
}
_LONGEST_TEXT = 512
_MOST_OPTIONS = 100


def body(
    config: pytest.Config,
    settings: Settings,
    tree: WorkTree | None,
    collected: Json,
    started_at: float,
) -> Json:
    """Return the opening of a run of the tests that were `collected`."""
    commits = settings.commits
    if commits is None and tree is not None:
        commits = (tree.commit,)
    return {
        "application": settings.application,
        "application_namespace": settings.application_namespace,
        "environment": settings.environment,
        "suite": settings.suite,
        "commits": list(commits) if commits else None,
        "dirty": bool(tree.changed) if tree is not None else None,
        "collected": collected,
        "tool": {
            "name": "pytest",
            "version": pytest.__version__,
            "plugin": __version__,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "platform": _short(platform.platform()) or None,
        },
        "options": _bounded([*_told_options(config), *_told_arguments(config), *_plugins(config)]),
        "started_at": timestamp(started_at),
    }


def collected(tests: list[str], deselected: int) -> Json:
    """Describe a set of tests, named by the identifiers that their attempts will have."""
    digest = hashlib.sha256("\n".join(sorted(tests)).encode()).hexdigest()
    return {"tests": len(tests), "digest": digest, "deselected": deselected}


def _told_options(config: pytest.Config) -> list[str]:
    options = []
    for name, flag in _TOLD_OPTIONS.items():
        value = config.getoption(name, None)
        if not value or (name == "dist" and value == "no"):
            continue
        options += [flag if one is True else f"{flag} {one}" for one in (value if isinstance(value, list) else [value])]
    return options


def _told_arguments(config: pytest.Config) -> list[str]:
    """Return the files and tests that were named on the command line, which is a selection too."""
    source = getattr(config, "args_source", None)
    if source is None or source.name != "ARGS":
        return []
    return [str(argument) for argument in config.args]


def _plugins(config: pytest.Config) -> list[str]:
    """Return the installed plugins with their versions: some change what an outcome means."""
    found = {(found.metadata["Name"] or "?", found.version) for _, found in config.pluginmanager.list_plugin_distinfo()}
    return [f"plugin {name} {version}" for name, version in sorted(found) if name.lower() != "pytest-syncgate"]


def _bounded(options: list[str]) -> list[str]:
    """Keep what the gate takes: 100 texts of 512 bytes without control characters."""
    told = [text for text in map(_short, options) if text]
    if len(told) > _MOST_OPTIONS:
        left_out = len(told) - _MOST_OPTIONS + 1
        told[_MOST_OPTIONS - 1 :] = [f"... and {left_out} more"]
    return told


def _short(text: str) -> str:
    return clean_name(text).encode()[:_LONGEST_TEXT].decode("utf-8", "ignore")
