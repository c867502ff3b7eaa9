#!/bin/sh
# Prints a Python that is new enough, really runs (a shim may not) and can make virtual environments.
for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3.14 python3 python; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        command -v "$name"
        exit 0
    fi
done
echo "error: no Python 3.11 or newer with the modules venv and ensurepip was found (on Debian: apt-get install python3-venv)." >&2
echo "       Name one with: make PYTHON=/path/to/python3" >&2
exit 1
