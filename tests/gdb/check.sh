#!/bin/sh
# check.sh PROGRAM SCRATCH: gdb tells what the pools of stuck.cpp hold, alive and in a core file. Ends
# with 77 where there is no gdb with Python.
set -eu
program=$1
source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
script=$source/../../cmake/gdb/fanout.py
gdb -batch -ex 'python print(1)' >/dev/null 2>&1 || { echo 'skipped: no gdb with Python'; exit 77; }
rm -rf "$2"
mkdir -p "$2"
cd "$2"

line() { grep -n "// $1" "$source/stuck.cpp" | cut -d: -f1; }
cat >expected <<END
index: open, 2 workers, 2 of 3 waiting, 2 running; accepted 7, completed 3, failed 0, discarded 0, rejected 0
no pool is named nobody
plain pool: drained, 1 workers, 0 of 1024 waiting, 0 running; accepted 1, completed 0, failed 1, discarded 0, rejected 0
runs on index/0, stuck.cpp:$(line runs)
runs on index/1, stuck.cpp:$(line runs)
waits 1: stuck.cpp:$(line 'waits first')
waits 2: stuck.cpp:$(line 'waits second')
what runs is told of timed pools only
END

# tell ARGUMENT...: gdb's answers, without the time and the folders, in sorted order.
tell() {
  gdb -batch -nx "$@" -ex "source $script" -ex 'fanout pools' -ex 'fanout tasks index' \
    -ex 'fanout tasks plain pool' -ex 'fanout tasks nobody' 2>&1 |
    grep -E '^(index|plain pool|runs on|waits|what runs|no pool|.*[Ee]rror)' |
    sed -e 's/began .* before the last: /#/' -e 's|[^ #]*/\(stuck.cpp\)|\1|' -e 's/#//' | LC_ALL=C sort
}
tell -ex 'set confirm off' -ex 'break is_stuck' -ex run -ex 'generate-core-file core' "$program" >alive
diff expected alive
tell "$program" core >dead
diff expected dead
