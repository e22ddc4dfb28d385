"""Runs statements on an engine of its own that knows a cluster of two shards, which do not answer. Writes the error of
each to stdout, blank for none.

In:  stdin: `{"folder": …, "settings": {…}, "statements": […]}`. Out: a JSON list of texts.
"""

import json
import sys
from pathlib import Path

import chdb

_SHARD = "<shard><replica><host>127.0.0.1</host><port>1</port></replica></shard>"
_CONFIGURATION = f"""
<clickhouse>
    <remote_servers><both>{_SHARD}{_SHARD}</both></remote_servers>
</clickhouse>
"""


def main() -> None:
    """Run the program."""
    given = json.load(sys.stdin)
    configuration = Path(given["folder"]) / "server.xml"
    configuration.write_text(_CONFIGURATION)
    connection = chdb.connect(f"{given['folder']}/data?config-file={configuration}")
    errors = []
    for name, value in given["settings"].items():
        connection.query(f"SET {name} = '{value}'")
    for statement in given["statements"]:
        try:
            connection.query(statement)
            errors.append("")
        except RuntimeError as error:
            errors.append(str(error)[:300])
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
