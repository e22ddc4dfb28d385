"""Run the build steps of the Dockerfile in an empty folder, then start the programs that they make: `make image-check`.

In:  the Dockerfile, and the files that a build is given. Packages come from the registry that pip is set up with.
Out: exit code 0 if each step works, the packages are those of the lock, and each program starts; else 1.

Absolute paths of the image become paths below the folder. Two things stay untried, and it says so: the base image (this
machine's Python stands in), and steps that change the system, such as adding a user. `make test` leaves this out: it
downloads some 150 MB and takes about a minute.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.deploy.dockerfile import ROOT, Instruction, context, exec_form, instructions, matches, sources
from tests.deploy.test_image import LOCAL_ONLY, locked

__all__ = ["main"]

_NOT_OURS: Final = ("groupadd", "useradd")
"""Commands that change the machine: their steps are not run."""
_OURS: Final = ("/opt/", "/wheels", "/build", "/var/lib/sendledger")
AWAY: Final = "127.0.0.1:1"
SETTINGS: Final = {
    "SENDLEDGER_KAFKA_BOOTSTRAP": AWAY,
    "SENDLEDGER_CLICKHOUSE_URL": f"http://user:password@{AWAY}",
    "SENDLEDGER_TOKEN_SECRET": "a secret of this check, and of no other place",
}
STARTED: Final = {
    "--help": 0, "--version": 0, "topics": 4, "migrate": 4, "worker ledger": 4, "worker gate": 4, "gateway": 4,
    "rebuild": 4, "token create --role viewer --account demo": 0,
}  # fmt: skip
"""What is run, and the exit code with Kafka and ClickHouse away."""


class CheckFailed(Exception):
    """A step failed, or what it made is wrong."""


def main() -> int:
    """Run everything; return the exit code."""
    with TemporaryDirectory(prefix="image-check-") as folder:
        try:
            image = _build(Path(folder))
            _check_packages(image)
            _check_programs(Path(folder), image)
        except CheckFailed as error:
            _say(f"failed: {error}")
            return 1
    _say("the steps that install packages work, and each program starts")
    _say(f"not run here: FROM (this machine's Python {sys.version.split()[0]} stands in), and steps that add a user")
    return 0


def _build(folder: Path) -> Path:
    """Run the steps; return the folder of the installed programs."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("python", "python3"):  # as the base image has it, and no virtual environment
        (tools / name).symlink_to(Path(sys.base_prefix) / "bin" / "python3.11")
    env = {"PATH": f"{tools}:{os.defpath}", "HOME": str(folder)} | dict(_settings_of_pip())
    here = folder
    for step in instructions():
        if step.name == "WORKDIR":
            here = Path(_moved(step.text, folder))
            here.mkdir(parents=True, exist_ok=True)
        elif step.name == "ENV" and step.stage == 0:
            env |= dict(word.split("=", 1) for word in step.text.split())
        elif step.name == "COPY" and "--from" not in step.text:
            _copy(step, here)
        elif step.name == "RUN":
            _run(step, folder, here, env)
    return folder / "opt" / "sendledger"


def _settings_of_pip() -> Iterator[tuple[str, str]]:
    """How pip reaches its registry on this machine; nothing else of the environment."""
    for name, value in os.environ.items():  # noqa: TID251
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            yield name, value


def _copy(step: Instruction, here: Path) -> None:
    from_, to = sources(step)
    for name in context():
        if any(matches(name, source) for source in from_):
            target = here / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    if to not in ("./", *from_):
        raise CheckFailed(f"COPY {step.text}: this check copies to the same name only")


def _run(step: Instruction, folder: Path, here: Path, env: dict[str, str]) -> None:
    if any(command in step.text for command in _NOT_OURS):
        _say(f"not run: {step.text}")
        return
    command = _moved(step.text, folder)
    _say(f"run: {step.text}")
    done = subprocess.run(["sh", "-euc", command], cwd=here, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"{step.text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def _moved(text: str, folder: Path) -> str:
    """The text with absolute paths of the image below the folder."""
    return re.sub(rf"(?<![\w.])(?={'|'.join(_OURS)})", str(folder), text)


def _check_packages(image: Path) -> None:
    """What is installed is the lock and sendledger, and nothing that is for development or one machine."""
    ask = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    listed = subprocess.run([image / "bin" / "python", "-I", "-c", ask], capture_output=True, text=True, check=True)
    found = {_normal(line.partition("==")[0]): line.partition("==")[2] for line in listed.stdout.splitlines()}
    wanted = {_normal(name): version for name, (version, _) in locked("requirements-image.lock").items()}
    ours = found.pop("sendledger", None)
    if ours is None or found != wanted:
        raise CheckFailed(f"installed is not what is locked: {sorted(found.items() ^ wanted.items())}, and {ours}")
    if present := [name for name in LOCAL_ONLY if name in found]:
        raise CheckFailed(f"the image has {present}")
    _say(f"installed: sendledger {ours} and the {len(found)} packages of the lock")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_programs(folder: Path, image: Path) -> None:
    """Start each program from the installed files only, in a folder that has nothing of the repository."""
    empty = folder / "empty"
    empty.mkdir()
    env = SETTINGS | {"PATH": str(image / "bin"), "SENDLEDGER_WORKER_DIR": str(empty), "PYTHONDONTWRITEBYTECODE": "1"}
    (entry,) = [exec_form(step.text) for step in instructions() if step.name == "ENTRYPOINT"]
    for words, code in STARTED.items():
        _start([str(image / "bin" / entry[0]), *words.split()], code, env, empty)
    (check,) = [step.text.partition("CMD ")[2] for step in instructions() if step.name == "HEALTHCHECK"]
    program, *words_of_check = exec_form(check)
    _start([str(image / "bin" / program), *words_of_check], 1, env, empty)  # no gateway runs here


def _start(command: list[str], code: int, env: dict[str, str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    shown = " ".join([Path(command[0]).name, *command[1:]])
    if done.returncode != code or "Traceback" in done.stderr:
        raise CheckFailed(f"{shown} ended with {done.returncode}, not {code}\n{done.stderr[-4000:]}")
    _say(f"started: {shown}: exit code {code}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
