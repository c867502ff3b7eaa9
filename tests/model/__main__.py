"""Explore on all cores, and print what was found.

python -m tests.model [RULE_OFF | all] [RUNS]

Without a rule all hold, and the exit code is 1 if anything is noticed. With a rule, or `all` of them one by one, it
says how often its absence is: that a promise is broken, or that the core notices and stops with an error.
"""

from __future__ import annotations

import sys
import time

from tests.model.explore import all_cores, explore_on
from tests.model.rules import RULES

RUNS = 20_000


def line(rule: str | None, runs: int) -> int:
    """Explore once, print a line, and return how many runs were violated."""
    began = time.monotonic()
    with all_cores() as cores:
        tally = explore_on(cores, runs, frozenset({rule} if rule else ()))
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.violations.most_common()) or "none"
    total = tally.violations.total()
    took_s = time.monotonic() - began
    sys.stdout.write(
        f"{rule or 'all hold':16} {tally.runs:>10,} {total:>10,} {tally.promises:>10,} {took_s:>8.0f} s  {kinds}\n"
    )
    if rule is None:
        sys.stdout.writelines(f"    {text}\n" for text in tally.first.values())
    sys.stdout.flush()
    return total


def main(words: list[str]) -> int:
    """The command."""
    runs = int(words.pop()) if words and words[-1].isdigit() else RUNS
    chosen = words[0] if words else None
    if chosen not in (None, "all", *RULES):
        sys.stderr.write(f"no such rule: {chosen}; rules: {', '.join(RULES)}\n")
        return 2
    sys.stdout.write(f"{'rule off':16} {'runs':>10} {'noticed':>10} {'promises':>10} {'took':>10}  by kind\n")
    if chosen is None:
        return int(line(None, runs) > 0)
    for rule in RULES if chosen == "all" else (chosen,):
        line(rule, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
