"""Keeps a few processes running on one machine, with one data directory.

In:  `Part`s, in the order in which they depend on each other.
Out: each one is started once the previous ones are ready, restarted with back-off when it dies, and stopped in reverse
     order; its output is in `logs/<name>.log`.
Promise: one supervisor per directory. No part outlives its supervisor, not even after kill -9 (the kernel kills them:
     Linux only). Processes left over by an unclean stop are found and stopped at the next start. Processes are stopped
     by pid, after their environment has proved them ours; never by name.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import functools
import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from deploy.local.folders import PRIVATE_UMASK, make_private
from schemas.errors import ConfigError
from schemas.log_events import LogEvent

__all__ = ["PART_MARKER", "Part", "RestartBackoff", "Supervisor"]

log = structlog.get_logger()

STOP_WITHIN_SECONDS = 18.0  # all parts together; `up` promises 20
POLL_SECONDS = 0.05
STEADY_SECONDS = 30.0  # a part that ran this long gets a new back-off
LEFTOVER_GRACE_SECONDS = 10.0
LOG_TAIL_BYTES = 2000
FATAL_EXIT_CODES = (2, 3)  # exit codes for usage and configuration: a restart can't help
PART_MARKER = "SENDLEDGER_LOCAL_PART"  # in each part's environment; it survives exec, which the command line does not
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Part:
    """One process.

    `env` is added to our own environment. `ready` returns quickly and never raises. `ports` must be free at the first
    start, so that `ready` can't be answered by another process.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[], Awaitable[bool]]
    stop_within: float = 5.0
    start_within: float = 60.0
    ports: tuple[int, ...] = ()


@dataclass
class RestartBackoff:
    """Delays between starts: 0.5 s, doubled up to 10 s, reset after a long run. Up to half of each is random."""

    first: float = 0.5
    most: float = 10.0
    steady: float = STEADY_SECONDS
    random_share: Callable[[], float] = random.random
    failures: int = field(default=0, init=False)

    def after(self, ran_seconds: float) -> float:
        """Return the delay before the next start, after a process that ran for `ran_seconds`."""
        if ran_seconds >= self.steady:
            self.failures = 0
        delay = min(self.most, self.first * 2.0**self.failures)
        self.failures = min(self.failures + 1, 30)  # beyond that, 2**n is only a large number
        return delay * (1 - self.random_share() / 2)


@dataclass
class RunningPart:
    """A part and its current process."""

    part: Part
    restart_task: "asyncio.Task[None] | None" = None
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    ended_with: int | None = None
    """The exit code of the last process that ended, also while the next one is running."""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Supervisor:
    """Starts, keeps and stops parts. Not reusable: one start, one stop."""

    def __init__(
        self, data_dir: Path, parts: Sequence[Part], backoff: Callable[[], RestartBackoff] = RestartBackoff
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.parts = tuple(parts)
        self._backoff = backoff
        self._running: list[RunningPart] = []
        self._stopping = False
        self._lock: IO[str] | None = None

    async def start(self) -> None:
        """Start every part and return when all are ready; on any failure stop what runs, and raise ConfigError."""
        make_private(self.data_dir)
        self._lock = lock_directory(self.data_dir / "run" / "lock")
        try:
            await stop_leftovers(self.data_dir)
            for part in self.parts:
                await self.add(part)
        except BaseException:
            await self.stop()
            raise

    async def add(self, part: Part) -> None:
        """Start one more part, after those that run, and return when it is ready."""
        check_ports_free(part)
        rotate(self._log_path(part))
        running = RunningPart(part)
        self._running.append(running)
        running.restart_task = asyncio.create_task(self._keep_running(running), name=f"keep running {part.name}")
        await self._until_ready(running)
        log.info(LogEvent.PART_STARTED, part=part.name, pid=running.process and running.process.pid)

    async def run_until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Parts that die meanwhile are started again."""
        stopped = asyncio.create_task(stop.wait())
        restart_tasks = {running.restart_task for running in self._running if running.restart_task}
        try:
            done, _ = await asyncio.wait({stopped, *restart_tasks}, return_when=asyncio.FIRST_COMPLETED)
            for restart_task in done & restart_tasks:
                restart_task.result()  # a restart loop ends only by a bug: raise it
        finally:
            stopped.cancel()

    async def stop(self) -> None:
        """Stop every part, the last one first. Each gets SIGTERM, then SIGKILL after its time limit."""
        self._stopping = True
        clock = asyncio.get_running_loop().time
        deadline = clock() + STOP_WITHIN_SECONDS
        while self._running:
            running = self._running.pop()
            reserved = float(len(self._running))  # a second for each part that remains
            await self._stop_part(running, max(1.0, min(running.part.stop_within, deadline - clock() - reserved)))
        if self._lock:
            self._lock.close()
            self._lock = None

    def pid(self, name: str) -> int | None:
        """Return the process id of a running part."""
        for running in self._running:
            if running.part.name == name and running.alive and running.process:
                return running.process.pid
        return None

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a running part."""
        for running in self._running:
            if running.part.name == name and running.alive and running.process:
                running.process.send_signal(number)

    async def _keep_running(self, running: RunningPart) -> None:
        backoff = self._backoff()
        clock = asyncio.get_running_loop().time
        while True:
            started_at = clock()
            process = await self._spawn(running)
            code = running.ended_with = await process.wait()
            self._pid_path(running.part).unlink(missing_ok=True)
            delay = backoff.after(clock() - started_at)
            log.warning(LogEvent.PART_DIED, part=running.part.name, exit_code=code, restart_in_seconds=round(delay, 2))
            await asyncio.sleep(delay)

    async def _spawn(self, running: RunningPart) -> asyncio.subprocess.Process:
        part = running.part
        with self._log_path(part).open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *part.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                # Children inherit our environment; nothing is read from it here.
                env={**os.environ, **part.env, PART_MARKER: part_marker(self.data_dir, part.name)},  # noqa: TID251
                umask=PRIVATE_UMASK,
                start_new_session=True,  # Ctrl-C reaches only us, and we stop them in order
                preexec_fn=functools.partial(die_with_parent, os.getpid(), libc()),
            )
        running.process = process
        running.starts += 1
        self._pid_path(part).write_text(json.dumps({"pid": process.pid, "part": part.name}))
        return process

    async def _until_ready(self, running: RunningPart) -> None:
        part = running.part
        clock = asyncio.get_running_loop().time
        deadline = clock() + part.start_within
        while not (running.alive and await part.ready() and running.alive):
            code = running.ended_with
            if code in FATAL_EXIT_CODES or clock() > deadline:
                ended = f"ended with exit code {code}" if code is not None else "did not become ready"
                raise ConfigError(
                    what=f"{part.name} {ended} within {part.start_within:g} s: {self._log_tail(part)}",
                    where=str(self._log_path(part)),
                    mend="read the end of this log",
                )
            if running.restart_task and running.restart_task.done():
                running.restart_task.result()
            await asyncio.sleep(POLL_SECONDS)

    async def _stop_part(self, running: RunningPart, within: float) -> None:
        if running.restart_task:
            running.restart_task.cancel()
            await asyncio.wait({running.restart_task})
        process = running.process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), within)
            except TimeoutError:
                log.warning(
                    LogEvent.PART_KILLED, part=running.part.name, pid=process.pid, waited_seconds=round(within, 1)
                )
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._pid_path(running.part).unlink(missing_ok=True)
        log.info(LogEvent.PART_STOPPED, part=running.part.name, exit_code=process.returncode)

    def _log_path(self, part: Part) -> Path:
        return self.data_dir / "logs" / f"{part.name}.log"

    def _pid_path(self, part: Part) -> Path:
        return self.data_dir / "run" / f"{part.name}.pid"

    def _log_tail(self, part: Part) -> str:
        data = self._log_path(part).read_bytes()[-LOG_TAIL_BYTES:]
        return data.decode(errors="replace").strip() or "it printed nothing"


def part_marker(data_dir: Path, name: str) -> str:
    return f"{name}@{data_dir}"


def lock_directory(path: Path) -> IO[str]:
    """Lock the directory until the returned file is closed, or our process ends."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise ConfigError(
            what=f"another sendledger is running on this data directory (process {holder})",
            where=str(path),
            mend="stop it, or use another --data-dir",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def check_ports_free(part: Part) -> None:
    for port in part.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ConfigError(
                    what=f"port {port} is in use, and {part.name} needs it",
                    where=f"127.0.0.1:{port}",
                    mend="stop what listens there, or choose another --port-base",
                ) from error


def rotate(path: Path) -> None:
    """Rename the log of the last run to `.log.1` and start an empty one: only two runs are kept."""
    if path.exists():
        path.replace(path.with_suffix(".log.1"))


@functools.cache
def libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int, library: ctypes.CDLL | None) -> None:
    """Called in the child before exec: let the kernel kill it when the supervisor's thread ends."""
    if library is None:
        return
    library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the supervisor ended before that
        os._exit(1)


async def stop_leftovers(data_dir: Path) -> None:
    """Stop the processes that an unclean stop left over, so that their locks and ports are free."""
    for path in sorted((data_dir / "run").glob("*.pid")):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a truncated file is ignored
            saved = json.loads(path.read_text())
            await stop_leftover(int(saved["pid"]), part_marker(data_dir, str(saved["part"])))
        path.unlink(missing_ok=True)


async def stop_leftover(pid: int, expected: str) -> None:
    with open_pidfd(pid) as handle:
        if handle is None or environment_marker(pid) != expected:
            return  # it has ended, or the pid was reused
        log.warning(LogEvent.LEFTOVER_FOUND, pid=pid, part=expected.partition("@")[0])
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if await wait_for_exit(handle, LEFTOVER_GRACE_SECONDS):
                return


@contextlib.contextmanager
def open_pidfd(pid: int) -> Iterator[int | None]:
    """Yield a pidfd of the process, which stays valid even if the pid is reused; None if there is no such process."""
    try:
        handle = os.pidfd_open(pid)
    except (OSError, AttributeError):  # it has ended; or not Linux
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def environment_marker(pid: int) -> str | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == PART_MARKER.encode():
            return value.decode(errors="replace")
    return None


async def wait_for_exit(handle: int, within: float) -> bool:
    """Wait until a process that is not our child has ended."""
    return await asyncio.to_thread(lambda: bool(select.select([handle], [], [], within)[0]))
