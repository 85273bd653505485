#!/bin/bash
# record.sh ORACLE OUT MODULE [PREFIX...]: boots the oracle in folder ORACLE, records the scenarios of the Python file
# MODULE.py (in the current folder, or example.py here) whose names start with a PREFIX, and leaves them in OUT.
set -e
HERE=$(dirname "$(readlink -f "$0")")
ORACLE=$(readlink -f "$1") OUT=$(readlink -f "$2") MODULE=$3
shift 3
INIT=$(mktemp)
trap 'rm -f "$INIT"' EXIT
cat > "$INIT" <<Y
export PYTHONPATH=$PWD:$HERE PYTHONDONTWRITEBYTECODE=1 WIDE=$WIDE
\$M libcrc32c
/usr/bin/python3 $HERE/record.py $OUT $MODULE $*
Y
bash "$ORACLE/uml.sh" "$INIT"
