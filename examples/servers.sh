# Sourced by what starts servers: they listen on 127.0.0.1 only, and end with the script.

started=
stop_servers() {
  # A stopped process takes no signal but these.
  for pid in $started; do kill -KILL "$pid" 2>/dev/null || true; done
}
trap stop_servers EXIT
trap 'exit 143' HUP INT TERM

# start OUT COMMAND...: in the background; its output goes to OUT; sets pid.
start() {
  to=$1
  shift
  : >"$to"
  "$@" >"$to" 2>&1 &
  pid=$!
  started="$started $pid"
}

# until_says FILE WORDS: waits for what the process pid writes.
until_says() {
  until grep -qF -- "$2" "$1" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.05
  done
}

# start_redis: keeps nothing on the disk; sets redis (a process) and port.
start_redis() {
  # Redis asks for a port instead of taking any free one; a taken one is another try.
  for port in $(shuf -i 20000-32000 -n 20); do
    start redis.log redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$PWD"
    redis=$pid
    if until_says redis.log 'Ready to accept connections'; then return 0; fi
  done
  cat redis.log
  return 1
}
