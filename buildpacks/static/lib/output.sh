# The voice of the build: headlines, details, warnings and failures as users of Heroku know them.

headline() { printf -- '-----> %s\n' "$1"; }

detail() { printf '       %s\n' "$@"; }

warning() { # TITLE LINE...
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
