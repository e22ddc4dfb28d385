"""The supervisor starts, restarts and stops parts, and leaves no process behind."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.folders import make_private
from deploy.local.supervisor import PART_MARKER, Part, RestartBackoff, Supervisor, part_marker
from schemas.errors import ConfigError
from tests.local.parts import a_failing_part, a_part, diary
from tests.local.waiting import PATIENCE_SECONDS, until

ROOT = Path(__file__).parents[2]
SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]

Supervise = Callable[..., Supervisor]


@pytest.fixture
async def supervise(tmp_path: Path) -> AsyncIterator[Supervise]:
    """Create supervisors over `tmp_path`; each is stopped after the test."""
    made: list[Supervisor] = []

    def supervise(*parts: Part) -> Supervisor:
        made.append(Supervisor(tmp_path, parts, backoff=lambda: RestartBackoff(first=0.01, most=0.02)))
        return made[-1]

    yield supervise
    for supervisor in made:
        await supervisor.stop()


class TestBackoff:
    def test_delays_double_up_to_the_most(self) -> None:
        backoff = RestartBackoff(random_share=lambda: 0.0)
        assert [backoff.after(1.0) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]

    def test_a_steady_run_begins_again(self) -> None:
        backoff = RestartBackoff(random_share=lambda: 0.0)
        assert [backoff.after(ran) for ran in (1.0, 1.0, 30.0, 1.0)] == [0.5, 1, 0.5, 1]

    def test_chance_shortens_a_delay_by_up_to_half(self) -> None:
        assert RestartBackoff(random_share=lambda: 1.0).after(0.0) == 0.25


class TestLife:
    async def test_parts_start_in_order_and_stop_in_reverse(self, supervise: Supervise, tmp_path: Path) -> None:
        supervisor = supervise(*(a_part(tmp_path, name) for name in ("one", "two", "three")))
        await supervisor.start()
        await supervisor.stop()
        assert diary(tmp_path) == [
            *("one started", "two started", "three started"),
            *("three stopped", "two stopped", "one stopped"),
        ]

    async def test_a_part_that_dies_is_started_again(self, supervise: Supervise, tmp_path: Path) -> None:
        supervisor = supervise(a_part(tmp_path, "one"))
        await supervisor.start()
        supervisor.send("one", signal.SIGKILL)
        await until(lambda: diary(tmp_path) == ["one started"] * 2, "its second life")
        supervisor.send("one", signal.SIGKILL)
        await until(lambda: diary(tmp_path) == ["one started"] * 3, "its third life")

    async def test_a_part_added_later_is_stopped_first(self, supervise: Supervise, tmp_path: Path) -> None:
        supervisor = supervise(a_part(tmp_path, "one"))
        await supervisor.start()
        await supervisor.add(a_part(tmp_path, "late"))
        await supervisor.stop()
        assert diary(tmp_path)[2:] == ["late stopped", "one stopped"]

    async def test_a_part_that_ignores_sigterm_is_killed(self, supervise: Supervise, tmp_path: Path) -> None:
        supervisor = supervise(a_part(tmp_path, "deaf", on_term="ignore", stop_within=0.1))
        await supervisor.start()
        pid = supervisor.pid("deaf")
        await supervisor.stop()
        assert pid is not None
        assert not alive(pid)

    async def test_it_runs_until_it_is_stopped(self, supervise: Supervise, tmp_path: Path) -> None:
        supervisor = supervise(a_part(tmp_path, "one"))
        await supervisor.start()
        stop = asyncio.Event()
        running = asyncio.create_task(supervisor.run_until(stop))
        stop.set()
        await running

    async def test_output_goes_to_a_log_that_two_runs_bound(self, supervise: Supervise, tmp_path: Path) -> None:
        for _ in range(3):
            supervisor = supervise(a_part(tmp_path, "one"))
            await supervisor.start()
            await until(lambda: bool((tmp_path / "logs" / "one.log").read_text()), "the part's output")
            await supervisor.stop()
        logs = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
        assert logs == {"one.log": "hello from one\n", "one.log.1": "hello from one\n"}


class TestRefusals:
    async def test_one_directory_has_one_supervisor(self, supervise: Supervise, tmp_path: Path) -> None:
        await supervise(a_part(tmp_path, "one")).start()
        with pytest.raises(ConfigError, match=f"another sendledger .*process {os.getpid()}"):
            await supervise(a_part(tmp_path, "two")).start()
        assert diary(tmp_path) == ["one started"]

    async def test_a_port_in_use_is_named(self, supervise: Supervise, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ConfigError, match=f"port {port} is in use"):
                await supervise(replace(a_part(tmp_path, "one"), ports=(port,))).start()

    async def test_a_part_that_is_misconfigured_ends_the_start(self, supervise: Supervise, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"exit code 3[^\n]*: no such thing"):
            await supervise(a_part(tmp_path, "one"), a_failing_part("bad", 3, says="no such thing")).start()
        assert diary(tmp_path) == ["one started", "one stopped"]


class TestUncleanStops:
    async def test_parts_die_with_a_killed_supervisor(self, supervise: Supervise, tmp_path: Path) -> None:
        keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.local.keeping", str(tmp_path)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert keeper.stdout is not None
        kept = await first_pid(keeper.stdout)
        assert alive(kept)
        keeper.kill()
        await keeper.communicate()
        await until(lambda: not alive(kept), "the end of the part")
        assert (tmp_path / "run" / "kept.pid").exists()
        await supervise(a_part(tmp_path, "kept")).start()  # nothing that was left behind is in its way

    async def test_a_leftover_is_ended_at_the_next_start(self, supervise: Supervise, tmp_path: Path) -> None:
        leftover = await sleeping({PART_MARKER: part_marker(tmp_path, "one")})
        note_pid(tmp_path, "one", leftover.pid)
        await supervise(a_part(tmp_path, "one")).start()
        await leftover.communicate()
        assert leftover.returncode == -signal.SIGTERM

    @pytest.mark.parametrize(
        "others",
        [
            pytest.param({}, id="another program"),
            pytest.param({PART_MARKER: "one@/elsewhere"}, id="a part of another directory"),
        ],
    )
    async def test_somebody_elses_process_is_left_alone(
        self, supervise: Supervise, tmp_path: Path, others: dict[str, str]
    ) -> None:
        foreign = await sleeping(others)
        note_pid(tmp_path, "one", foreign.pid)
        await supervise(a_part(tmp_path, "one")).start()
        assert alive(foreign.pid)
        foreign.kill()
        await foreign.communicate()

    async def test_a_torn_pid_file_is_no_obstacle(self, supervise: Supervise, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "one.pid").write_text('{"pid": 12')
        await supervise(a_part(tmp_path, "one")).start()


async def sleeping(environment: dict[str, str]) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(*SLEEPER, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def first_pid(output: asyncio.StreamReader) -> int:
    """The keeper's first line that is a number; its log comes on the same stream."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in output:
            if line.strip().isdigit():
                return int(line)
    raise AssertionError("the keeper ended without a word")


def note_pid(data_dir: Path, name: str, pid: int) -> None:
    (data_dir / "run").mkdir(exist_ok=True)
    (data_dir / "run" / f"{name}.pid").write_text(json.dumps({"pid": pid, "part": name}))


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestPrivacy:
    """A data directory contains mail, addresses and keys."""

    async def test_what_a_stack_makes_is_for_its_user_alone(self, supervise: Supervise, tmp_path: Path) -> None:
        supervisor = Supervisor(tmp_path / "a b" / "data", [a_part(tmp_path, "one")])
        await supervisor.start()
        await supervisor.stop()
        data_dir = supervisor.data_dir
        assert {path.name: mode(path) for path in data_dir.iterdir()} == {"logs": 0o700, "run": 0o700}
        assert (mode(data_dir), mode(tmp_path / "diary")) == (0o700, 0o600), "the part wrote its diary"

    def test_what_was_made_before_is_closed(self, tmp_path: Path) -> None:
        data_dir = tmp_path / "data"
        for name in ("kafka", "clickhouse", "worker", "logs", "run"):
            (data_dir / name).mkdir(mode=0o755, parents=True)
        (data_dir / "dev.env").touch(0o600)
        make_private(data_dir)
        assert {mode(path) for path in (data_dir, *data_dir.iterdir()) if path.is_dir()} == {0o700}

    def test_a_folder_that_holds_other_things_too_stays_open_and_what_is_ours_is_closed(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").touch()
        tmp_path.chmod(0o755)
        make_private(tmp_path)
        make_private(tmp_path)
        assert (mode(tmp_path), mode(tmp_path / "logs"), mode(tmp_path / "run")) == (0o755, 0o700, 0o700)

    def test_a_folder_that_can_not_be_is_a_matter_of_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="Not a directory") as raised:
            make_private(tmp_path / "file" / "data")
        assert "--data-dir" in raised.value.mend


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
