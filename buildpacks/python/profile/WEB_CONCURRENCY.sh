# How many worker processes gunicorn and uvicorn start: two for each core and one more, as far as
# 256 MB are there for each. A value that is set already wins.

senryu_web_concurrency() {
  local limit= memory cores by_memory
  if [ -r /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
    read -r limit </sys/fs/cgroup/memory/memory.limit_in_bytes
  elif [ -r /sys/fs/cgroup/memory.max ]; then
    read -r limit </sys/fs/cgroup/memory.max
  fi
  # A machine without a limit reports a number with nineteen digits, or "max".
  case "$limit" in
    '' | *[!0-9]*) return ;;
  esac
  [ ${#limit} -le 12 ] || return
  memory=$((limit / 1048576))
  cores=$(nproc 2>/dev/null) || return
  export DYNO_RAM=$memory
  senryu_say "Detected $memory MB available memory and $cores CPU cores."
  if [ -n "${WEB_CONCURRENCY:-}" ]; then
    senryu_say "WEB_CONCURRENCY is already set to $WEB_CONCURRENCY."
    return
  fi
  by_memory=$((memory / 256))
  [ "$by_memory" -ge 1 ] || by_memory=1
  if [ "$by_memory" -lt $((cores * 2 + 1)) ]; then
    export WEB_CONCURRENCY=$by_memory
    senryu_say "Defaulting WEB_CONCURRENCY to $WEB_CONCURRENCY based on the available memory."
  else
    export WEB_CONCURRENCY=$((cores * 2 + 1))
    senryu_say "Defaulting WEB_CONCURRENCY to $WEB_CONCURRENCY based on the number of CPU cores."
  fi
}
# Only in the log of web dynos: elsewhere it would mix with what a script prints.
senryu_say() {
  case "${DYNO:-}" in web.*) echo "Python buildpack: $1" >&2 ;; esac
}
senryu_web_concurrency
unset -f senryu_web_concurrency senryu_say
