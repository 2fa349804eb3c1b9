#!/bin/sh
# Says in plain words what is missing before `make setup` begins. $1: the Python to use.
python=${1:-python3}

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || stop \
    "There is no '$python' here. Footwork needs Python 3.11 or later (https://www.python.org/downloads/)." \
    "Name another one if you have it: make setup PYTHON=/path/to/python3"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || stop \
    "Footwork needs Python 3.11 or later; '$python' is $("$python" -V 2>&1)." \
    "Install a newer one (https://www.python.org/downloads/) and name it: make setup PYTHON=python3.12"

# uv brings its own way to make environments. Debian leaves out ensurepip, and `python3 -m venv` then fails half-way.
command -v uv >/dev/null 2>&1 || "$python" -c 'import ensurepip, venv' 2>/dev/null || stop \
    "'$python' has no venv module. On Debian and Ubuntu: apt install python3-venv." \
    "Or install uv (https://docs.astral.sh/uv/), or name another Python: make setup PYTHON=/path/to/python3"
