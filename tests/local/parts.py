"""Small parts for the supervisor's tests: each notes its starts and its end in a diary."""

import sys
from pathlib import Path

from deploy.local.supervisor import Part

LIFE = """
import signal, sys
name, diary, on_term = sys.argv[1:]

def note(what):
    with open(diary, "a") as file:
        file.write(f"{name} {what}\\n")

awaited = signal.SIGTERM if on_term == "obey" else signal.SIGUSR1
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})  # so that none is missed before sigwait
print("hello from", name, flush=True)
note("started")
signal.sigwait({awaited})
note("stopped")
"""


def diary(data_dir: Path) -> list[str]:
    path = data_dir / "diary"
    return path.read_text().splitlines() if path.exists() else []


def a_part(data_dir: Path, name: str, *, on_term: str = "obey", stop_within: float = 5.0) -> Part:
    async def ready() -> bool:
        return f"{name} started" in diary(data_dir)

    argv = [sys.executable, "-c", LIFE, name, str(data_dir / "diary"), on_term]
    return Part(name, argv, {}, ready, stop_within=stop_within)


def a_failing_part(name: str, exit_code: int, *, says: str) -> Part:
    async def ready() -> bool:
        return False

    return Part(name, [sys.executable, "-c", f"print({says!r}); raise SystemExit({exit_code})"], {}, ready)
