#!/bin/sh
# Makes the image streamq-base out of Debian's packages, for machines that have no registry to pull a base image from.
# Needs root and debootstrap.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root"
tar -C "$root" -c . | docker import - streamq-base
