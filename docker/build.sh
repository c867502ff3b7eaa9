#!/bin/sh
# Builds the images streamq-kafka and streamq-worker. Wheels and jars are fetched here, by pip and by streamq itself;
# the builds only copy them. BASE names the base image: one with Python 3.11 or newer, the same minor version as PYTHON.
#
#   docker/build.sh                          on python:<minor>-slim from your registry
#   BASE=streamq-base docker/build.sh        on a local image, for instance one that docker/make-base.sh made
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
base=${BASE:-python:$minor-slim}
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
