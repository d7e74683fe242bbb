#!/bin/sh
# Installs outlast and its engine from the wheels of this bundle. It needs Python and coreutils, and
# no network.
#
#     sh install.sh [FOLDER]          FOLDER: ~/.local/lib/outlast, unless you name another
#     PYTHON=python3.12 sh install.sh
#
# It does this, and nothing else:
#   1. compares every wheel with wheels/SHA256SUMS: has the medium altered one?
#   2. makes a virtual environment in FOLDER, which must not exist
#   3. has pip, which runs from its wheel here, install the wheels that wheels/requirements.txt
#      names, each only with the sha256 that stands there
#   4. prints what comes next
# Whether the medium is what its writer made of it, these sums do not prove: see verify.py --id.
set -eu

say() { printf '%s\n' "$*"; }
fail() { say "install.sh: $*" >&2; exit 1; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
folder=${1:-${HOME:?}/.local/lib/outlast}
python=${PYTHON:-python3}
wheels=$here/wheels

command -v "$python" >/dev/null || fail "no $python here; name another: PYTHON=... sh install.sh"
(cd -- "$wheels" && sha256sum --check --quiet --strict SHA256SUMS) ||
    fail "the medium is damaged; 'python3 verify.py --program DIR' may restore what it had"

mkdir -p -- "$(dirname -- "$folder")"
mkdir -- "$folder" || fail "$folder is not new; name another folder"
folder=$(CDPATH='' cd -- "$folder" && pwd -P)
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 130' INT TERM HUP

"$python" -I -m venv --without-pip -- "$folder" || fail "$python cannot make an environment"
set -- "$wheels"/pip-*.whl
[ $# = 1 ] && [ -f "$1" ] || fail "not one wheel of pip in $wheels"
PIP_CONFIG_FILE=/dev/null "$folder/bin/python" -I "$1/pip" --isolated install --quiet \
    --disable-pip-version-check --no-cache-dir --no-index --find-links "$wheels" \
    --only-binary :all: --require-hashes --requirement "$wheels/requirements.txt" ||
    fail "nothing is installed. The wheels here: $(head -n 1 "$wheels/requirements.txt")"

trap - EXIT
say "outlast is in $folder. Next:"
say "  $folder/bin/outlast import $here"
