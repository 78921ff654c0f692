"""Measures what the plugin costs a test, by CPU time.

    python benches/overhead.py [--tests 20000] [--rounds 3] [--away]

First the plugin alone, by the clocks of its two threads, which other load on the machine does not disturb: what a
test waits for (its three reports put together, encoded, written to the spool), and what is sent beside it. Then a whole
pytest of trivial tests with and without the plugin, in turns, of which the least counts; `--away` has the gate take
no batch for the first seconds. Ends with 1 if a test costs 1 ms or more.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pytest_syncgate.attempts import Assembler
from pytest_syncgate.client import GateClient, Patience
from pytest_syncgate.credentials import TokenText
from pytest_syncgate.spool import Spool
from pytest_syncgate.stream import send_next
from pytest_syncgate.transport import Transport

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from gate import TOKEN, Gate

SUITE = "import pytest\n\n@pytest.mark.parametrize('number', range({tests}))\ndef test_number(number): pass\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--away", action="store_true")
    told = parser.parse_args()
    waits, sends = _alone(told.tests)
    print(
        f"{told.tests} tests, the plugin alone: {waits:.3f} ms a test in its thread, {sends:.3f} ms beside it",
        flush=True,
    )
    without, with_plugin = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_suite.py").write_text(SUITE.format(tests=told.tests))
        for turn in range(told.rounds):
            without.append(_run(folder, None, told.tests, told.away))
            gate = Gate()
            with_plugin.append(_run(folder, gate, told.tests, told.away))
            gate.stop()
            print(f"round {turn + 1}: {without[-1]:.2f} s CPU without, {with_plugin[-1]:.2f} s with", flush=True)
    a, b = min(without), min(with_plugin)
    each = (b - a) / told.tests * 1000
    print(
        f"{told.tests} tests: {a:.2f} s CPU without, {b:.2f} s with the plugin: ratio {b / a:.3f}, {each:.3f} ms a test"
    )
    return 0 if max(each, waits + sends) < 1 else 1


def _alone(tests: int) -> tuple[float, float]:
    """Return the milliseconds of CPU per test in the thread of the tests, and in the one that sends."""
    assembler = Assembler()
    gate = Gate()
    client = GateClient(gate.url, Transport(gate.url, None), TokenText(TOKEN, "text"))
    patience = Patience(time.sleep, 60)
    opening = {"application": "checkout-staging", "commits": None}
    with tempfile.TemporaryDirectory() as folder:
        run = client.open_run(opening, "key", patience)
        spool = Spool.create(Path(folder), {})
        began = time.thread_time()
        for number in range(tests):
            for when in ("setup", "call", "teardown"):
                name = f"test_suite.py::test_number[{number}]"
                report = pytest.TestReport(name, ("", 0, ""), {}, "passed", None, when, duration=0.1)
                for attempt in assembler.add(report):
                    spool.append(attempt.encode())
        waited = time.thread_time()
        while send_next(client, run, spool, patience):
            pass
        sent = time.thread_time()
        spool.discard()
    client.close()
    gate.stop()
    if len(gate.run["attempts"]) != tests:
        raise SystemExit(f"{len(gate.run['attempts'])} attempts arrived of {tests}")
    return (waited - began) / tests * 1000, (sent - waited) / tests * 1000


def _run(folder: Path, gate: Gate | None, tests: int, away: bool) -> float:
    """Run the suite in a process of its own; return its CPU time in seconds, threads included."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SYNCGATE_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest"]
    if gate is None:
        command += ["-p", "no:syncgate"]
    else:
        own = {"SYNCGATE_URL": gate.url, "SYNCGATE_APPLICATION": "checkout-staging", "SYNCGATE_TOKEN": TOKEN}
        environment.update(own)
        until = time.monotonic() + 5
        if away:
            gate.fault = lambda kind, _: (503, {}) if kind == "attempts" and time.monotonic() < until else None
    before = _cpu()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    spent = _cpu() - before
    if gate is not None and len(gate.run["attempts"]) != tests:
        raise SystemExit(f"{len(gate.run['attempts'])} attempts arrived of {tests}")
    return spent


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
