#!/bin/sh
# Builds the images streamq-kafka and streamq-worker. Wheels and jars are fetched here, by pip and by streamq itself;
# the builds only copy them. BASE names the base image: one with the same minor version of Python as .venv, which is
# made where it is not there yet (by Python 3.11 or newer; PYTHON may name it).
#
#   docker/build.sh                          on python:<minor>-slim from your registry
#   BASE=streamq-base docker/build.sh        on a local image, for instance one that docker/make-base.sh made
set -eu
cd "$(dirname "$0")/.."
make --silent .venv/.ready PYTHON="${PYTHON:-}"
python=.venv/bin/python
show_minor='import sys; print("%d.%d" % sys.version_info[:2])'
minor=$("$python" -c "$show_minor")
base=${BASE:-python:$minor-slim}
if ! has=$(docker run --rm "$base" python3 -c "$show_minor"); then
    echo "error: the base image $base cannot be had or has no Python: name another in BASE, or make one" >&2
    echo "       with docker/make-base.sh and run: BASE=streamq-base docker/build.sh" >&2
    exit 1
fi
if [ "$has" != "$minor" ]; then
    echo "error: $base has Python $has, .venv has $minor, and the wheels of one do not fit the other: run" >&2
    echo "       make clean, then docker/build.sh with PYTHON naming a Python $has, or name another image in BASE" >&2
    exit 1
fi
context=docker/context
rm -rf "$context"
mkdir -p "$context/wheels" "$context/jars"
"$python" -m pip wheel --quiet --wheel-dir "$context/wheels" --requirement requirements.lock
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$context/wheels" .
"$python" - "$context/jars" <<'PYTHON'
import shutil
import sys

from streamq.local.distribution import jars

for jar in jars():
    shutil.copy(jar, sys.argv[1])
PYTHON
docker build --quiet --build-arg "BASE=$base" --file docker/Dockerfile.kafka --tag streamq-kafka "$context"
docker build --quiet --build-arg "BASE=$base" --file docker/Dockerfile.worker --tag streamq-worker "$context"
