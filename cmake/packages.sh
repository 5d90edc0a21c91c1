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
  # The status goes where sudo leaves it open: among apt's words, which nobody reads.
  apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
  apt="$apt -o APT::Status-Fd=1"
  say 'reading the lists of packages'
  # shellcheck disable=SC2086 # lists of words
  $apt update </dev/null >/dev/null || true
  # shellcheck disable=SC2086
  status=$({
    { $apt install --no-install-recommends $missing </dev/null && echo done >&3; } | say_progress
  } 3>&1)
  [ "$status" = done ] || die "$by_hand"
  missing=
}

say() { printf '  %s\n' "$1" >&2; }

# Reads apt's status and says each fifth of the way.
say_progress() {
  said=
  while IFS=: read -r step _ percent _; do
    case $step in
      dlstatus) step=downloading ;;
      pmstatus) step=unpacking ;;
      *) continue ;;
    esac
    percent=${percent%%[!0-9]*}
    step="$step: $((${percent:-0} / 20 * 20)) %"
    if [ "$step" != "$said" ]; then
      say "$step"
      said=$step
    fi
  done
}

# build_in NAME: makes the folder where the compiler CXX builds what NAME says, and sets build to it.
# It lies in build/, where a second run finds it; if the tree is somebody else's, in the user's cache.
build_in() {
  name=$1-$(basename "$CXX" | tr ' /' '__')
  build=$root/build/$name
  if mkdir -p "$build" 2>/dev/null && [ -w "$build" ]; then return 0; fi
  build=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/fanout/$(printf %s "$root" | cksum | tr ' ' -)/$name
  mkdir -p "$build" || die "can write neither to $root/build nor to $build"
  printf '%s: building in %s\n' "$0" "$build" >&2
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
