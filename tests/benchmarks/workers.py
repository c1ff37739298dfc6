"""Processes that run the functions of a script on demand, so that two programs can alternate."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

SERVE = """
def serve():
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(globals()[name](*arguments)), flush=True)
"""
"""What a script runs last; it needs `json` and `sys`."""


class Worker:
    """A process, on as many cores as threads.

    Args:
        python: The interpreter.
        code: The script; it ends with `serve()`.
        arguments: Of the script, after the number of threads.
        threads: Of the process.
    """

    def __init__(self, python: str, code: str, *arguments: int, threads: int) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "passive",
        }
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, python, "-c", code, *map(str, (threads, *arguments))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __call__(self, name, *arguments):
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the process that ran {name}{arguments} ended"
        return json.loads(answer)


def peer(python: str, module: str) -> str:
    """The interpreter in which the peer is installed; the benchmark is skipped if it is not."""
    found = (
        Path(python).exists()
        and not subprocess.run(
            [python, "-c", f"import {module}"], capture_output=True, check=False
        ).returncode
    )
    if not found:
        pytest.skip(f"{module} is not installed at {python}; see the file's head for how to")
    return python


def least(samples: list[list[float]]) -> list[float]:
    """The least of each figure over its repetitions."""
    return [min(values) for values in zip(*samples, strict=True)]
