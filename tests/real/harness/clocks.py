"""Programs whose clock is wrong: the C library's clock is put ahead for one process, by libfaketime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def ahead(seconds: int) -> dict[str, str]:
    """Variables of the environment with which a program's clock is ahead of this machine's."""
    found = find_spec("libfaketime")
    assert found is not None
    assert found.origin is not None
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    assert library.exists()
    return {"LD_PRELOAD": str(library), "FAKETIME": f"+{seconds}s", "DONT_FAKE_MONOTONIC": "1"}
