#!/bin/sh
# check_servers.sh CLAIM PROGRAM SCRATCH: as check.sh, for the examples that need servers. Ends with
# 77 if a tool that the claim needs is missing; ctest then says that it was skipped.
set -eu
claim=$1
program=$2
source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$source/expect.sh"
. "$source/servers.sh"
rm -rf "$3"
mkdir -p "$3"
cd "$3"
: >out
: >err

# uses COMMAND...
uses() {
  for tool; do
    command -v "$tool" >/dev/null 2>&1 || { printf 'skipped: no %s\n' "$tool"; exit 77; }
  done
}

# row WAY CONDITION: the row of cache_aside's table with its columns named.
row() {
  awk -v way="$1" '$1 == way {
    p50 = $2; p99 = $3; misses = $4; written = $5; failed = $6; refused = $7; discarded = $8
    at_once = $9; wrong = $10
    seen = ('"$2"') && wrong == 0 && misses == written + failed + refused + discarded
  } END { exit !seen }' out || fail "the row $1 does not have: $2"
}

# serve ARGUMENT...: starts the server on a free port; sets server (a process) and url.
serve() {
  start server.log "$program" 0 "$@"
  server=$pid
  until_says server.log listening || fail "$(cat server.log)"
  url=$(sed -n 's/listening on //p' server.log)
}

# ends STATUS: waits for the server, whose last line goes to out.
ends() {
  status=0
  wait "$server" || status=$?
  tail -n 1 server.log >out
  [ "$status" -eq "$1" ] || fail "status $status, expected $1"
}

# sum NAME: a number of http_server's last line.
sum() { sed -n "s/.*$1 \([0-9]*\).*/\1/p" out; }

peak_memory() { awk '/^VmHWM/ { print $2 }' "/proc/$server/status"; }

case $claim in
  cache_aside_answers_without_a_server)
    expect 0 "$program"
    row inline 'misses > 1000 && misses < 5000 && written == misses && at_once == 0'
    row thread 'misses > 1000 && written == misses'
    row pool 'misses > 1000 && written > 0 && failed == 0 && at_once <= 1025'
    ;;

  cache_aside_fills_redis)
    uses redis-server redis-cli
    start_redis
    expect 0 "$program" --redis "$port"
    row inline 'misses > 1000 && misses < 5000 && written == misses'
    row pool 'misses > 1000 && written > 0 && failed == 0'
    # What it says it has written is there: a key missed once is hit from then on.
    keys=$(redis-cli -p "$port" --scan --pattern 'inline:*' | wc -l)
    row inline "written == $keys"
    key=$(redis-cli -p "$port" --scan --pattern 'pool:*' | head -n 1)
    [ "$(redis-cli -p "$port" get "$key")" = "body of item ${key##*:}" ] || fail "$key is wrong"
    ;;

  cache_aside_does_not_wait_for_a_stalled_redis)
    uses redis-server
    start_redis
    expect 0 "$program" --redis "$port" --stall "$redis"
    row inline-stalled 'p50 >= 50000 && failed == misses'  # us: the time limit of a write
    row pool-stalled 'p50 < 5000 && p99 < 20000 && misses == 5000 && written == 0 &&
      refused > 3000 && discarded > 0 && at_once <= 1025'
    ;;

  cache_aside_refuses_bad_arguments)
    expect 2 "$program" --redis
    says err PORT
    expect 2 "$program" --redis 1 # nobody listens there
    says err 'Connection refused'
    ;;

  http_server_sheds_load_and_loses_nothing)
    uses wrk curl
    serve
    wrk -t1 -c8 -d1 "$url/work" >wrk.log
    before=$(peak_memory)
    start wrk.log wrk -t1 -c8 -d3 "$url/work"
    load=$pid
    until curl -si -m 5 "$url/work" >answer && grep -q '^HTTP/1.1 503' answer; do
      kill -0 "$load" 2>/dev/null || fail 'no answer was 503'
    done
    grep -q '^Retry-After: 1' answer || fail 'a 503 without Retry-After'
    wait "$load" || fail 'wrk failed'
    growth=$(($(peak_memory) - before))
    kill -TERM "$server"
    ends 0
    says out 'discarded 0'
    [ "$(sum accepted)" -gt 500 ] || fail 'hardly any were accepted'
    [ "$(sum accepted)" -eq "$(sum done)" ] || fail 'not all that was accepted is done'
    [ "$(sum refused)" -gt 1000 ] || fail 'it was not overloaded'
    [ "$growth" -lt 8192 ] || fail "it grew by $growth KiB"
    ;;

  http_server_ends_by_its_deadline)
    uses wrk
    for signal in INT TERM QUIT; do
      serve 0
      wrk -t1 -c8 -d1 "$url/work" >wrk.log
      kill -"$signal" "$server"
      ends 1
      says out 'the deadline came first'
      [ "$(sum discarded)" -gt 0 ] || fail 'nothing was discarded'
      [ "$(sum accepted)" -eq $(($(sum 'done') + $(sum discarded))) ] || fail 'it does not add up'
    done
    ;;

  http_server_names_what_is_stuck)
    uses curl
    serve 100 1
    [ "$(curl -s -o code -w '%{http_code}' "$url/stuck")" = 202 ] || fail 'it is not accepted'
    kill -TERM "$server"
    ends 3
    line=$(grep -n 'sleep_for(1h)' "$source/http_server.cpp" | cut -d: -f1)
    grep -Eq "^stuck for 0\.[6-9] s: the task of .*http_server.cpp:$line$" out || fail "$(cat out)"
    ;;

  http_server_tells_prometheus)
    uses promtool curl
    serve
    for i in 1 2 3; do curl -s -m 5 "$url/work"; done
    until curl -s -m 5 "$url/metrics" >out && grep -q '^fanout_processed_total{pool="work"} 3' out; do
      kill -0 "$server" || fail 'it has ended'
    done
    says out 'fanout_queue_length{pool="work"} 0'
    says out 'fanout_discarded_total{pool="work"} 0'
    says out 'fanout_run_seconds_count{pool="work"} 3'
    says out 'fanout_wait_seconds_bucket{pool="work",le="+Inf"} 3'
    says out 'sync_pipeline_fanout_chan_len{name="work"} 0'
    says out 'sync_pipeline_fanout_process_count{name="work"} 3'
    # Each took over 1 ms and so lies above the bucket that ends at 2^20 - 1 ns.
    [ "$(grep -c '^fanout_run_seconds_bucket.*} 0$' out)" -ge 10 ] || fail 'a task ran too fast'
    # 3: valid, with names that its authors would not choose. The Go original's are such.
    grep -v sync_pipeline_fanout_process_count out >own
    promtool check metrics <own >err 2>&1 || fail 'promtool objects'
    status=0
    promtool check metrics <out >err 2>&1 || status=$?
    [ "$status" -eq 3 ] || fail "promtool ends with $status"
    ! grep -v '^sync_pipeline_fanout_process_count ' err || fail 'promtool objects to more'
    kill -TERM "$server"
    ends 0
    ;;

  http_server_refuses_bad_arguments)
    for port in '' none 65536 -1; do
      expect 2 "$program" "$port"
      says err PORT
    done
    serve
    expect 2 "$program" "${url##*:}"
    says err 'not to be had'
    kill -TERM "$server"
    ends 0
    ;;

  httplib_queue_sheds_and_answers_the_rest)
    uses curl wrk
    serve 1 2
    wrk -t1 -c16 -d1 "$url/work" >wrk.log
    [ "$(curl -s "$url/work")" = 'done' ] || fail 'no answer when the load is over'
    kill -TERM "$server"
    ends 0
    refused=$(sed -n 's/.*Non-2xx or 3xx responses: //p' wrk.log)
    all=$(sed -n 's/^ *\([0-9]*\) requests in.*/\1/p' wrk.log)
    answered=$(sed -n 's/^\([0-9]*\) connections answered.*/\1/p' out)
    shed=$(sed -n 's/.* \([0-9]*\) shed$/\1/p' out)
    [ "$shed" -ge "${refused:-0}" ] && [ "${refused:-0}" -ge 1 ] || fail "$refused refused, $shed shed"
    [ $((answered + shed)) -ge "$all" ] && [ "$answered" -ge 10 ] || fail "$answered answered of $all"
    ;;

  httplib_queue_refuses_bad_arguments)
    expect 2 "$program"
    says err usage
    expect 2 "$program" 0 0 5
    says err usage
    serve 1 2
    expect 1 "$program" "${url##*:}" 1 2
    says err 'is taken'
    kill -TERM "$server"
    ends 0
    ;;

  spill_to_redis_survives_a_dead_consumer)
    uses redis-server redis-cli
    start_redis
    for name in a b; do
      start "$name.log" "$program" "$port" consume "$name"
      eval "$name=\$pid"
    done
    # shellcheck disable=SC2154 # eval
    expect 0 "$program" "$port" produce 400
    says err 'jobs ran here'
    mv out own.log
    : >out
    until [ "$(wc -l <a.log)" -ge 5 ]; do kill -0 "$a" || fail "$(cat a.log)"; done
    kill -KILL "$a"
    wait "$a" || true
    orphans=$(redis-cli -p "$port" xpending jobs workers - + 100 a | grep -c '^a$') || true
    [ "$orphans" -gt 0 ] || fail 'it died with nothing on its hands'
    until [ "$(redis-cli -p "$port" xlen jobs)" = 0 ]; do kill -0 "$b" || fail "$(cat b.log)"; done
    kill -TERM "$b"
    wait "$b" || fail "$(cat b.log)"
    for part in own a b; do [ -s "$part.log" ] || fail "$part.log is empty"; done
    seq 400 | sort >all
    sort -u own.log a.log b.log | diff all - || fail 'a job is lost'
    ;;

  spill_to_redis_refuses_bad_arguments)
    expect 2 "$program" 1 produce
    says err JOBS
    expect 2 "$program" 1 consume a # nobody listens there
    says err 'Connection refused'
    ;;

  *)
    printf 'no such claim: %s\n' "$claim"
    exit 2
    ;;
esac
