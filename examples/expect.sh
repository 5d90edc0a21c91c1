# Sourced by the scripts that check the examples, from their scratch folder.

fail() {
  printf '%s\n' "$1"
  cat out err
  exit 1
}

# expect STATUS COMMAND...: runs it; its output goes to out and err.
expect() {
  expected=$1
  shift
  status=0
  "$@" >out 2>err || status=$?
  [ "$status" -eq "$expected" ] || fail "status $status, expected $expected"
}

# says FILE WORDS
says() { grep -qF -- "$2" "$1" || fail "$1 does not say: $2"; }
