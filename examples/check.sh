#!/bin/sh
# check.sh CLAIM PROGRAM SCRATCH: ends with 0 if the claim about the example holds; ctest asks.
set -eu
claim=$1
program=$2
source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
rm -rf "$3"
mkdir -p "$3"
cd "$3"

. "$source/expect.sh"

# A tree with the names and sizes that break careless programs.
plant_tree() {
  mkdir -p 'tree/a b/c' tree/empty_folder
  : >tree/empty
  printf 'short' >'tree/a b/short'
  printf 'dash' >tree/-dash
  printf 'newline' >"$(printf 'tree/new\nline')"
  printf 'backslash' >'tree/back\slash'
  head -c 3000001 /dev/zero >'tree/a b/c/long'
  ln -s ../empty 'tree/a b/link'
}

case $claim in
  quickstart_prints_its_story)
    expect 0 "$program"
    sed 's/not cached: .*/not cached/; s/(.*quickstart\.cpp:[0-9]*)/(place)/' out >story
    diff story - <<'END' || fail 'another story'
tea: 320 cents
coffee: 480 cents
milk: 0 cents
sugar: 190 cents
sugar not cached
cache failed: no price for milk (place)
2 prices cached, 1 failed
END
    ;;

  parallel_for_agrees_with_the_loop)
    expect 0 "$program"
    says out '837799 with 524 steps'
    says out 'both agree: yes'
    says out 'speed-up on'
    ;;

  first_error_stops_the_rest)
    expect 0 "$program"
    says out 'shard 3: bad checksum in block 1000'
    says out '0 read to the end, 99 stopped, skipped or refused'
    ;;

  coroutine_goes_from_pool_to_pool)
    expect 0 "$program"
    diff out - <<'END' || fail 'another story'
get tea: 2 words
get green tea: 3 words
get milk: the pool is closed
parse: 2 tasks
log: 2 tasks
END
    ;;

  stuck_task_is_found)
    expect 0 "$program"
    line=$(grep -n 'the culprit' "$source/stuck_task.cpp" | cut -d: -f1)
    says out "index/0 has spent over 50 ms in the task of stuck_task.cpp:$line"
    says out '12 tasks ran; the slowest took at least 50 ms: yes'
    ;;

  finish_once_answers_each_call_once)
    expect 0 "$program"
    diff out - <<'END' || fail 'another story'
call 1: unavailable: dropped
call 2: unavailable: dropped
call 3: unavailable: full
call 4: unavailable: dropped
call 5: unavailable: closed
close: the deadline came first; 3 calls dropped, 1 refused for want of room
END
    ;;

  log_sink_accounts_for_every_line)
    for full in block discard overrun; do
      expect 0 "$program" log 100000 "$full"
      lost=$(sed -n 's/^100000 lines offered, \([0-9]*\) lost$/\1/p' out)
      [ $(($(wc -l <log) + lost)) -eq 100000 ] || fail "$full: $(wc -l <log) written, $lost lost"
      sort -n -c log || fail "$full: another order"
      [ "$full" != block ] || [ "$lost" -eq 0 ] || fail 'it lost lines that it could wait for'
      [ "$full" = discard ] || [ "$(tail -n 1 log)" = 100000 ] || fail "$full: the last line is lost"
    done
    ;;

  log_sink_refuses_bad_arguments)
    expect 2 "$program" log 10
    says err usage
    expect 2 "$program" log 10 perhaps
    says err usage
    expect 1 "$program" /dev/null/log 10 block
    says err /dev/null
    ;;

  asio_offload_comes_home)
    expect 0 "$program"
    sort out >story
    sort - <<'END' | diff story - || fail 'another story'
result: 1
exception: disk full
canceled by asio: -1
comes too late: the buffer is full
waits: the wait was stopped
runs: -1
strand: 100 ran, 0 side by side
END
    ;;

  asio_offload_refuses_bad_arguments)
    expect 2 "$program" 8080
    says err usage
    ;;

  write_behind_commits_what_came_together)
    expect 0 "$program" rows.db 20000
    says err 'a row is lost: UNIQUE constraint failed: rows.id'
    [ "$(wc -l <err)" -eq 1 ] || fail 'another row is lost'
    says out 'committed 19999'
    [ "$(grep -c committed out)" -lt 2000 ] || fail 'hardly any rows share a transaction'
    expect 0 "$program" rows.db count
    says out '19999 rows'
    ;;

  write_behind_keeps_what_it_said_was_committed)
    "$program" rows.db 5000000 >out 2>err &
    until [ "$(grep -c committed out)" -ge 5 ] || ! kill -0 $!; do sleep 0.02; done
    kill -KILL $!
    wait $! || true
    said=$(sed -n 's/^committed \([0-9]*\)$/\1/p' out | tail -n 1)
    expect 0 "$program" rows.db count
    found=$(sed -n 's/ rows$//p' out)
    [ "$said" -gt 0 ] && [ "$found" -ge "$said" ] || fail "said $said, found $found"
    ;;

  write_behind_refuses_bad_arguments)
    expect 2 "$program" rows.db
    says err usage
    expect 2 "$program" rows.db many
    says err usage
    expect 1 "$program" nowhere/rows.db 5
    says err 'nowhere/rows.db: unable to open database file'
    ;;

  timeline_agrees_with_the_stats)
    command -v python3 >/dev/null || { printf 'skipped: no python3\n'; exit 77; }
    expect 0 "$program" trace.json
    # shellcheck disable=SC2046 # two numbers
    python3 "$source/check_timeline.py" trace.json $(sed 's/[^0-9]/ /g' out) || fail "$(cat out)"
    ;;

  timeline_refuses_bad_arguments)
    expect 2 "$program"
    says err usage
    expect 1 "$program" nowhere/trace.json
    says err nowhere
    ;;

  trace_follows_two_hops)
    expect 0 "$program"
    diff out - <<'END' || fail 'another story'
trace 4712: store: disk full
the main thread works for trace 0 again
2 stored, 1 failed
END
    ;;

  hash_tree_agrees_with_sha256sum)
    plant_tree
    for workers in 1 3; do
      expect 0 "$program" tree --workers "$workers" --buffer 1
      [ "$(wc -l <out)" -eq 7 ] || fail 'not 7 lines'
      sha256sum -c --quiet --strict out || fail 'sha256sum does not agree'
      says err '7 files'
    done
    ;;

  hash_tree_refuses_bad_arguments)
    expect 2 "$program" nowhere
    says err nowhere
    expect 2 "$program"
    says err DIR
    mkdir tree
    expect 2 "$program" tree --workers 0
    says err workers
    expect 2 "$program" tree --buffer 0
    says err buffer
    ;;

  hash_tree_reports_unreadable_files)
    plant_tree
    # A regular file whose first byte nobody can read, root neither.
    ln -s /proc/self/mem tree/unreadable
    expect 1 "$program" tree
    [ "$(wc -l <out)" -eq 7 ] || fail 'the others are not all there'
    sha256sum -c --quiet --strict out || fail 'sha256sum does not agree'
    says err tree/unreadable
    says err '1 failed'
    ;;

  hash_tree_closes_when_asked)
    plant_tree
    mkdir tree/many
    for i in $(seq 200); do : >"tree/many/$i"; done
    truncate -s 500G tree/endless
    "$program" tree --workers 2 --deadline 0 >out 2>err &
    # One worker is caught in the endless file; what the other prints says that they are at work.
    until [ -s out ] || ! kill -0 $!; do sleep 0.1; done
    kill -TERM $!
    status=0
    wait $! || status=$?
    [ "$status" -eq 130 ] || fail "status $status, expected 130"
    says err 'left undone'
    ;;

  audit_log_keeps_the_order)
    seq 200000 >lines
    for part in 1 2; do expect 0 "$program" log <lines; done
    says out '200000 lines written, 0 lost'
    cat lines lines | cmp - log || fail 'the log holds other lines'
    ;;

  audit_log_writes_when_quiet)
    mkfifo lines
    "$program" log <lines >out 2>err &
    exec 3>lines
    for line in one two; do
      printf '%s\n' "$line" >&3
      # It reads on, so nothing but the quiet makes it write.
      until [ "$(tail -n 1 log 2>&1)" = "$line" ] || ! kill -0 $!; do sleep 0.02; done
      [ "$(tail -n 1 log)" = "$line" ] || fail "$line is not in the log"
    done
    exec 3>&-
    wait $! || fail 'another status'
    says out '2 lines written, 0 lost'
    ;;

  audit_log_reports_a_full_disk)
    line=$(grep -n 'log.append(' "$source/audit_log.cpp" | cut -d: -f1)
    printf 'one\n' >lines
    expect 1 "$program" /dev/full <lines
    says out '0 lines written, 1 lost'
    says err 'audit: 1 lines lost: No space left on device'
    says err "audit_log.cpp:$line)"
    seq 1000 >lines
    expect 1 "$program" /dev/full <lines
    says out '0 lines written, 1000 lost'
    [ "$(awk '/lines lost/ { sum += $2 } END { print sum }' err)" -eq 1000 ] ||
      fail 'the reports do not add up'
    ;;

  audit_log_leaves_no_half_line)
    seq 20000 >lines
    (
      trap '' XFSZ # so that a file past its limit is a write error
      ulimit -f 16
      expect 1 "$program" log <lines
    )
    says err 'File too large'
    kept=$(wc -l <log)
    says out "$kept lines written, $((20000 - kept)) lost"
    [ "$kept" -gt 0 ] || fail 'it has kept nothing'
    diff log lines >difference || true
    ! grep '^<' difference || fail 'the log holds what was no line'
    ;;

  audit_log_refuses_bad_arguments)
    expect 2 "$program" </dev/null
    says err FILE
    expect 2 "$program" nowhere/log </dev/null
    says err 'nowhere/log: No such file or directory'
    ;;

  *)
    printf 'no such claim: %s\n' "$claim"
    exit 2
    ;;
esac
