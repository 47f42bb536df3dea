# The voice of the build: headlines, details, warnings and failures as users of Heroku know them.

headline() { printf -- '-----> %s\n' "$1"; }

detail() { printf '       %s\n' "$@"; }

warning() { # TITLE LINE...
  outcome_is_of_this_build
  printf ' !     %s\n' "$1"
  shift
  # A part may have several lines.
  [ $# = 0 ] || printf '%s\n' "$@" | sed 's/^/       /'
}

# Ends the build. The first line says what is wrong; the others why, and what to do.
fail() { # TITLE LINE...
  printf '\n'
  warning "$@"
  printf '\n'
  exit 1
}

# Runs a command of the app with its output indented and kept in LOG; the status is the command's.
# With -u sed would read byte by byte.
run_logged() { # LOG COMMAND...
  local log=$1
  shift
  with_config "$@" 2>&1 | tee "$log" | stdbuf -oL sed 's/^/       /'
}
