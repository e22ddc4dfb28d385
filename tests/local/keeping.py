"""A program for the supervisor's tests: supervise one part, and say when it runs.

python -m tests.local.keeping DATA_DIR
"""

import asyncio
import sys
from pathlib import Path

from deploy.local.supervisor import Supervisor
from tests.local.parts import a_part


async def main(data_dir: Path) -> None:
    supervisor = Supervisor(data_dir, [a_part(data_dir, "kept")])
    await supervisor.start()
    print(supervisor.pid("kept"), flush=True)
    await supervisor.run_until(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
