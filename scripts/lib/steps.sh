# shellcheck shell=bash disable=SC2034
# Sourced by the scripts: one line for each step with its time, everything else in a log, and for
# each failure what to do. Standard output stays free: lines go to descriptor 3, the terminal's
# standard error.

STEP=      # what is being done, as the line says it
HINT=      # what helps if that fails
RESULT=    # what the line says at the end, if a step knows better than its title
STEP_LOG=/dev/null
STEP_STARTED=0

steps_begin() { # LOG
  STEP_LOG=$1
  mkdir -p "$(dirname "$STEP_LOG")"
  # Passwords never go into it, but what a build prints is nobody else's business.
  ( umask 077 && : >>"$STEP_LOG" )
  echo "=== $(date -u +%Y-%m-%dT%H:%M:%SZ) $0 ${*:2}" >>"$STEP_LOG"
  exec 3>&2
  trap steps_end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

took() { # SINCE_MS
  local ms=$(($(now_ms) - $1))
  printf '%d.%ds' $((ms / 1000)) $((ms % 1000 / 100))
}

say() { printf '       %s\n' "$*" >&3; }

# Runs a command or function as a step. Its output goes to the log.
step() { # TITLE HINT COMMAND...
  STEP=$1 HINT=$2 RESULT=$1 STEP_STARTED=$(now_ms)
  shift 2
  if [ -t 3 ]; then printf -- '-----> %s ...' "$STEP" >&3; fi
  echo "--- $STEP" >>"$STEP_LOG"
  "$@" >>"$STEP_LOG" 2>&1
  if [ -t 3 ]; then printf '\r\033[K' >&3; fi
  printf -- '-----> %s (%s)\n' "$RESULT" "$(took "$STEP_STARTED")" >&3
  STEP=
}

# Ends the script in the midst of a step: what went wrong, and what to do about it.
fail() { # MESSAGE HINT
  if [ -t 3 ]; then printf '\r\033[K' >&3; fi
  printf ' !     %s\n' "$1" >&3
  [ -z "${2:-}" ] || printf ' !     %s\n' "$2" >&3
  STEP=
  exit 1
}

# The EXIT trap: a step that ended the script names itself, its last lines and its log.
steps_end() {
  local status=$?
  if [ "$status" -ne 0 ] && [ -n "$STEP" ]; then
    if [ -t 3 ]; then printf '\r\033[K' >&3; fi
    if [ "$status" -eq 130 ]; then
      printf ' !     Interrupted: %s. Run it again to go on from here.\n' "$STEP" >&3
    else
      tail -n 15 "$STEP_LOG" | sed 's/^/       /' >&3
      printf ' !     Failed: %s (exit status %d)\n' "$STEP" "$status" >&3
      printf ' !     %s\n' "$HINT" >&3
      printf ' !     All that it printed is in %s\n' "$STEP_LOG" >&3
    fi
  fi
  exit "$status"
}

# Runs what may leave something behind in the background, with none of our descriptors: whoever
# waits for our output to end must not wait for that.
detached() { "$@" 3>&- 9>&- </dev/null; }

# Starts what outlives the script and its terminal. No shell stays with it.
background() { # LOG COMMAND...
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  (
    exec </dev/null >>"$log" 2>&1 3>&- 9>&-
    cd /
    exec setsid nohup "$@"
  ) &
}

# Waits until a command succeeds.
wait_for() { # SECONDS COMMAND...
  local deadline=$(($(now_ms) + $1 * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(now_ms)" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}
