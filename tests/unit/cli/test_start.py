"""How much a command loads before it has anything to do."""

from __future__ import annotations

import subprocess
import sys


def test_the_command_line_loads_nothing_that_only_some_commands_need() -> None:
    program = (
        "import sys\n"
        "from streamq.cli.main import CommandLine\n"
        "CommandLine()\n"
        "heavy = {'asyncio', 'rich', 'confluent_kafka', 'fastavro', 'pydantic', 'prometheus_client'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
