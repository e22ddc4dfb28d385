"""Runs statements on an engine of its own, which has a configuration: the session's endpoint takes none.

In:  stdin: `{"folder": …, "files": {name: text}, "settings": {…}, "statements": […]}`. `server.xml` among the files is
     the configuration; FOLDER in a file stands for the folder.
Out: a JSON list of [error, result] for each statement; the error is blank for none.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import chdb

__all__ = ["results"]


def results(
    folder: Path, files: Mapping[str, str], statements: Sequence[str], settings: Mapping[str, Any] | None = None
) -> list[tuple[str, str]]:
    """Return the error and the result of each statement, as text."""
    given = {"folder": str(folder), "files": files, "settings": settings or {}, "statements": statements}
    program = [sys.executable, "-m", "tests.projections.own_engine"]
    done = subprocess.run(program, input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True)
    return [(error, result) for error, result in json.loads(done.stdout)]


def main() -> None:
    """Run the program."""
    given = json.load(sys.stdin)
    for name, text in given["files"].items():
        (Path(given["folder"]) / name).write_text(text.replace("FOLDER", given["folder"]))
    connection = chdb.connect(f"{given['folder']}/data?config-file={given['folder']}/server.xml")
    for name, value in given["settings"].items():
        connection.query(f"SET {name} = '{value}'")
    found = []
    for statement in given["statements"]:
        try:
            found.append(("", connection.query(statement, "TSV").bytes().decode()))
        except RuntimeError as error:
            found.append((str(error)[:300], ""))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
