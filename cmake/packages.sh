# Sourced by the scripts that a person starts. POSIX sh. Sets CXX, and ccache where it is present.

CXX=${CXX:-c++}
export CXX
if command -v ccache >/dev/null 2>&1; then
  export CMAKE_CXX_COMPILER_LAUNCHER="${CMAKE_CXX_COMPILER_LAUNCHER-ccache}"
fi

die() {
  printf '%s: %s\n' "$0" "$1" >&2
  exit 2
}

has_command() { command -v "$1" >/dev/null 2>&1; }

# has_header NAME: the compiler finds it, wherever it is installed.
has_header() {
  has_command "${CXX%% *}" &&
    printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$1" | $CXX -E -x c++ - >/dev/null 2>&1
}

# need PACKAGE TEST...: PACKAGE is missing unless the command TEST succeeds.
missing=
need() {
  package=$1
  shift
  "$@" || missing="$missing $package"
}

# Installs what is missing; asks the network for nothing when nothing is.
install_missing() {
  [ -n "$missing" ] || return 0
  by_hand="install these packages first: apt-get install$missing"
  has_command apt-get || die "no apt-get here; install what these Debian packages hold:$missing"
  if [ "$(id -u)" -eq 0 ]; then
    as_root=
  elif has_command sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
  else
    die "$by_hand"
  fi
  printf '%s: installing%s\n' "$0" "$missing" >&2
  apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
  # shellcheck disable=SC2086 # lists of words
  { $apt update; $apt install --no-install-recommends $missing; } </dev/null >/dev/null ||
    die "$by_hand"
  missing=
}

# What every build here needs.
need_toolchain() {
  if [ "$CXX" = c++ ] || [ "$CXX" = g++ ]; then
    need g++ has_command "$CXX"
  else
    has_command "${CXX%% *}" || die "CXX=$CXX is no command here"
  fi
  need cmake has_command cmake
  need make has_command make
}
