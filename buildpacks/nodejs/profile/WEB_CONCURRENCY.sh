# How many worker processes fit into this dyno's memory. Values that are set already win.
# It runs at the start of every dyno, so it starts no process.

senryu_web_concurrency() {
  local limit= available=512
  if [ -r /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
    read -r limit </sys/fs/cgroup/memory/memory.limit_in_bytes
  elif [ -r /sys/fs/cgroup/memory.max ]; then
    read -r limit </sys/fs/cgroup/memory.max
  fi
  # A machine without a limit reports a number with nineteen digits, or "max".
  case "$limit" in
    '' | *[!0-9]*) ;;
    *) [ ${#limit} -gt 15 ] || available=$((limit / 1048576)) ;;
  esac
  [ "$available" -le 129024 ] || available=129024

  local memory=512
  [ "$available" -le 16384 ] || memory=2048
  export MEMORY_AVAILABLE=${MEMORY_AVAILABLE:-$available}
  export WEB_MEMORY=${WEB_MEMORY:-$memory}
  if [ -n "${WEB_CONCURRENCY:-}" ]; then
    return
  fi

  local count=1
  if [ "$WEB_MEMORY" -gt 0 ] 2>/dev/null && [ "$MEMORY_AVAILABLE" -gt 0 ] 2>/dev/null; then
    count=$((MEMORY_AVAILABLE / WEB_MEMORY))
  fi
  [ "$count" -ge 1 ] || count=1
  if [ "$count" -gt 200 ]; then
    echo "Could not determine a reasonable value for WEB_CONCURRENCY; using 1." >&2
    count=1
  fi
  export WEB_CONCURRENCY=$count WEB_CONCURRENCY_SET_BY=heroku/nodejs
  if [ "${LOG_CONCURRENCY:-}" = true ]; then
    echo "Detected $MEMORY_AVAILABLE MB available memory, $WEB_MEMORY MB limit per process" \
      "(WEB_MEMORY)"
    echo "Recommending WEB_CONCURRENCY=$WEB_CONCURRENCY"
  fi
}
senryu_web_concurrency
unset -f senryu_web_concurrency
