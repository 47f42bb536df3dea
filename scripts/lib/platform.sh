# shellcheck shell=bash disable=SC2034
# Sourced by the scripts, after machine.sh: the platform's own processes and containers. What runs
# is read from the locks that server and router hold, so that no file can be out of date.

BINARY=/usr/local/bin/senryu
SETTINGS=/etc/senryu/senryu.toml
SERVER_LOG=/var/log/senryu/server.log
UNIT=/etc/systemd/system/senryu.service
ROUTER_USER=senryu-router

# One setting of the file that server and command line read, too: `up` takes its settings only
# from there, so that it and systemd start the same server.
setting() { # NAME DEFAULT
  local value=
  if [ -f "$SETTINGS" ]; then
    value=$(sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*\([\"']\)\([^\"']*\)\1.*/\2/p" \
      "$SETTINGS" | tail -1)
  fi
  echo "${value:-$2}"
}

DATA_DIR=$(setting data_dir /var/lib/senryu)
RUN_DIR=$(setting run_dir /run/senryu)
LISTEN=$(setting listen 127.0.0.1:5757)
CONTROL_URL=http://localhost:${LISTEN##*:}
# As the command line keeps its logins and git its helpers.
CONTROL_URL=${CONTROL_URL%:80}
ADMIN_SOCKET=$RUN_DIR/admin.sock

# The process that holds the lock on a file. Inodes alone are not unique, and device numbers are
# not the same everywhere: the file must be open in it, too.
lock_holder() { # FILE
  local inode pid file
  inode=$(stat -c %i "$1" 2>/dev/null) || return 1
  # shellcheck disable=SC2013 # Process ids are words.
  for pid in $(awk -v inode="$inode" '$2 == "FLOCK" { split($6, at, ":")
      if (at[3] == inode) print $5 }' /proc/locks); do
    for file in "/proc/$pid/fd"/*; do
      if [ "$file" -ef "$1" ]; then
        echo "$pid"
        return
      fi
    done
  done
  return 1
}

server_pid() { lock_holder "$DATA_DIR/lock"; }
router_pid() { lock_holder "$RUN_DIR/router/router.lock"; }

# Is a process another program than the one that is installed?
is_outdated() { [ -e "/proc/$1" ] && ! [ "/proc/$1/exe" -ef "$BINARY" ]; }

# Has the settings file changed since the server read it?
settings_are_new() {
  local now=/dev/null
  [ ! -f "$SETTINGS" ] || now=$SETTINGS
  [ "$(sha256sum <"$now" | cut -d' ' -f1)" != "$(cat "$RUN_DIR/settings.sha256" 2>/dev/null)" ]
}

# The address at which this machine itself reaches a listener on ADDR:PORT.
local_address() { # ADDR:PORT
  local address=${1%:*}
  case "$address" in 0.0.0.0) echo 127.0.0.1 ;; '[::]') echo '[::1]' ;; *) echo "$address" ;; esac
}

# "localhost" leads nowhere where the router listens on one address of a network only.
listens_on_localhost() {
  case "$(local_address "$LISTEN")" in 127.0.0.1 | '[::1]') ;; *) return 1 ;; esac
}

server_health() {
  curl -fsS -m 5 --noproxy '*' --unix-socket "$ADMIN_SOCKET" \
    http://localhost/internal/health 2>/dev/null
}

server_is_ready() { server_health | grep -q '"ready":true'; }

gone() { ! [ -e "/proc/$1" ] || [ "$(awk '{print $3}' "/proc/$1/stat" 2>/dev/null)" = Z ]; }

# SIGTERM, and SIGKILL where that is not enough.
end_process() { # PID SECONDS
  kill -TERM "$1" 2>/dev/null || return 0
  if ! wait_for "$2" gone "$1"; then
    kill -KILL "$1" 2>/dev/null || true
    wait_for 5 gone "$1"
  fi
}

# --- server ------------------------------------------------------------------------------------

# Made once; the router needs no rights at all.
ensure_router_user() {
  id -u "$ROUTER_USER" >/dev/null 2>&1 && return
  useradd --system --user-group --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin "$ROUTER_USER"
}

start_server() { # UNIT_FILE
  if has_systemd; then
    if ! cmp -s "$1" "$UNIT"; then
      install -m 644 "$1" "$UNIT"
      detached systemctl daemon-reload
    fi
    detached systemctl enable senryu
    detached systemctl start senryu
    return
  fi
  if [ "$(stat -c %s "$SERVER_LOG" 2>/dev/null || echo 0)" -gt 67108864 ]; then
    mv -f "$SERVER_LOG" "$SERVER_LOG.1"
  fi
  # The caller's environment is not the server's: it may hold anybody's secrets.
  local name keep=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root)
  for name in LANG SENRYU_LOG http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || keep+=("$name=${!name}")
  done
  background "$SERVER_LOG" env -i "${keep[@]}" "$BINARY" server
}

stop_server() { # SECONDS
  local pid
  if has_systemd && systemctl is-active -q senryu; then
    detached systemctl stop senryu
  fi
  if pid=$(server_pid); then end_process "$pid" "$1"; fi
}

server_log_end() {
  if has_systemd; then journalctl -u senryu -n 15 --no-pager; else tail -n 15 "$SERVER_LOG"; fi
}

ensure_server() { # UNIT_FILE
  local pid did=
  ensure_router_user
  if pid=$(server_pid); then
    if is_outdated "$pid"; then
      did=Restarted
      stop_server 660
    elif settings_are_new; then
      echo "$SETTINGS has changed since the server (process $pid) was started"
      # Before the one that runs is stopped: a wrong setting ends this here.
      "$BINARY" server --check
      did=Restarted
      stop_server 660
    elif ! wait_for 20 server_is_ready; then
      echo "the server (process $pid) does not answer"
      did=Restarted
      stop_server 10
    fi
  else
    did=Started
  fi
  if [ -n "$did" ]; then
    start_server "$1"
    await_server
  fi
  replace_outdated_router
  RESULT="${did:-Found} the server, which listens on $LISTEN (process $(server_pid))"
}

await_server() {
  local deadline=$(($(now_ms) + 90000)) grace=$(($(now_ms) + 2000))
  until server_is_ready; do
    if [ "$(now_ms)" -gt "$deadline" ] \
      || { [ "$(now_ms)" -gt "$grace" ] && ! server_pid >/dev/null; }; then
      server_log_end >&3 2>&1 || true
      fail "The server did not come up." \
        "The lines above say why. \"senryu doctor\" checks what it needs."
    fi
    sleep 0.05
  done
}

# A router of an older version is asked to finish. The server starts the new one on the same
# listeners at once, so nobody is refused.
replace_outdated_router() {
  local old
  old=$(router_pid) || return 0
  is_outdated "$old" || return 0
  kill -TERM "$old"
  wait_for 10 router_is_not "$old" \
    || fail "The router (process $old) did not make room for its new version." \
      "End it with: kill -9 $old   The server starts another at once."
  echo "the router was replaced by its new version"
}

router_is_not() { # PID
  local pid
  pid=$(router_pid) && [ "$pid" != "$1" ]
}

# --- the end -----------------------------------------------------------------------------------

our_containers() { # FLAGS
  local installation
  installation=$(cat "$DATA_DIR/installation" 2>/dev/null) || return 0
  docker ps "$1" --filter "label=senryu.installation=$installation"
}

end_server() {
  RESULT="The server was not running"
  server_pid >/dev/null || return 0
  local builds
  builds=$(server_health | grep -o '"builds":[0-9]*' | cut -d: -f2 || true)
  if [ "${builds:-0}" -gt 0 ]; then
    say "$builds build(s) run and are waited for, at most 10 minutes."
  fi
  if has_systemd; then detached systemctl disable senryu; fi
  stop_server 660
  RESULT="Stopped the server"
}

end_router() {
  local pid
  RESULT="The router was not running"
  pid=$(router_pid) || return 0
  end_process "$pid" 35
  RESULT="Stopped the router"
}

# They stay as stopped containers: their logs' last lines are read at the next start.
end_containers() {
  local ids
  RESULT="No container was running"
  engine_answers || return 0
  mapfile -t ids < <(our_containers -q)
  [ "${#ids[@]}" -gt 0 ] || return 0
  docker stop -t 30 "${ids[@]}"
  RESULT="Stopped ${#ids[@]} container(s)"
}

end_engine() {
  RESULT="The Docker Engine goes on: it was not started by scripts/up"
  engine_is_ours || return 0
  local others
  others=$(docker ps -q | wc -l)
  if [ "$others" -gt 0 ]; then
    RESULT="The Docker Engine goes on: $others container(s) of others run in it"
    return
  fi
  if has_systemd; then
    detached systemctl stop docker.socket docker
  else
    end_process "$(engine_pid)" 30
  fi
  rm -f "$ENGINE_MARK"
  RESULT="Stopped the Docker Engine"
}
