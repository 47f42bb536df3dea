# shellcheck shell=bash disable=SC2034
# Sourced by the scripts: what the machine must have, made sure of. Debian 12 is what this is
# tried on; Ubuntu has the same commands and packages.

# Written where `up` started the engine, so that `up --down` knows whether it may end it.
ENGINE_MARK=/run/senryu-up/dockerd
DOCKER_LOG=/var/log/senryu/dockerd.log
RUST_AT_LEAST=1.90
# What is installed where there is none: newer ones may bring lints that nobody has seen yet.
RUST_INSTALLED=1.95.0

has_systemd() { [ -d /run/systemd/system ]; }

# --- packages ----------------------------------------------------------------------------------

# COMMAND:PACKAGE of what Senryu needs while it runs, and of what compiling it needs.
RUN_TOOLS=(
  dockerd:docker.io iptables:iptables git:git curl:curl mkfs.ext4:e2fsprogs losetup:mount
  flock:util-linux runuser:util-linux update-ca-certificates:ca-certificates
  mmdebstrap:mmdebstrap
)
COMPILE_TOOLS=(cc:build-essential make:build-essential pkg-config:pkg-config)

missing_packages() { # COMMAND:PACKAGE...
  local tool
  for tool in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${tool%%:*}" >/dev/null || echo "${tool#*:}"
  done | sort -u
}

install_packages() { # PACKAGE...
  export DEBIAN_FRONTEND=noninteractive
  if ! detached apt-get install -qy --no-install-recommends "$@"; then
    detached apt-get update -q
    detached apt-get install -qy --no-install-recommends "$@"
  fi
}

ensure_packages() { # WHAT COMMAND:PACKAGE...
  local missing what=$1
  shift
  mapfile -t missing < <(missing_packages "$@")
  if [ "${#missing[@]}" -eq 0 ]; then
    RESULT="$what are there"
    return
  fi
  command -v apt-get >/dev/null \
    || fail "This machine has no apt-get, and these packages are missing: ${missing[*]}" \
      "Install them by hand, then run this again."
  install_packages "${missing[@]}"
  # Newer Debian releases keep the engine's client in a package of its own.
  command -v docker >/dev/null || install_packages docker-cli
  RESULT="Installed ${missing[*]}"
}

# --- the engine --------------------------------------------------------------------------------

engine_answers() {
  [ -S /var/run/docker.sock ] && curl -fsS -m 5 -o /dev/null --noproxy '*' \
    --unix-socket /var/run/docker.sock http://localhost/_ping 2>/dev/null
}

engine_version() { docker version -f '{{.Server.Version}}'; }

ensure_engine() {
  if ! engine_answers; then
    start_engine
    wait_for 60 engine_answers_or_ended || true
    engine_answers || fail "The Docker Engine was started and does not answer: $(engine_last_said)" \
      "Its log: $(has_systemd && echo 'journalctl -u docker' || echo "$DOCKER_LOG")"
    mkdir -p "$(dirname "$ENGINE_MARK")"
    engine_identity >"$ENGINE_MARK"
    RESULT="Started Docker Engine $(engine_version)"
    return
  fi
  RESULT="Docker Engine $(engine_version) answers"
}

# By the init system where one runs services, else as a process of its own.
start_engine() {
  # An engine that was killed leaves its pid file, and no other starts while that pid is in use.
  engine_pid >/dev/null || rm -f /var/run/docker.pid
  if has_systemd; then
    detached systemctl enable --now docker
  elif [ "$(cat /proc/1/comm)" = init ] && [ -x /etc/init.d/docker ]; then
    detached service docker start
  else
    background "$DOCKER_LOG" dockerd
    ENGINE_STARTED=$!
  fi
}

# Nobody waits for one that has given up.
engine_answers_or_ended() {
  engine_answers || { [ -n "${ENGINE_STARTED:-}" ] && ! kill -0 "$ENGINE_STARTED"; }
}

engine_last_said() {
  if has_systemd; then journalctl -u docker -n 1 -o cat; else tail -n 1 "$DOCKER_LOG"; fi
}

engine_pid() {
  local pid
  pid=$(cat /var/run/docker.pid 2>/dev/null) || return 1
  # One that was killed may stay behind as a zombie.
  [ "$(awk '{print $2, $3 == "Z"}' "/proc/$pid/stat" 2>/dev/null)" = "(dockerd) 0" ] && echo "$pid"
}

# The process and when it began: a pid alone may be another's by now.
engine_identity() {
  local pid
  pid=$(engine_pid) || return 1
  echo "$pid $(awk '{print $22}' "/proc/$pid/stat")"
}

engine_is_ours() {
  [ -s "$ENGINE_MARK" ] && [ "$(cat "$ENGINE_MARK")" = "$(engine_identity)" ]
}

# --- Rust --------------------------------------------------------------------------------------

# The user who called sudo, else whoever this is. Compiling, git and the command line are theirs.
CALLER=root
if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && id -u "$SUDO_USER" >/dev/null 2>&1; then
  CALLER=$SUDO_USER
elif [ "$(id -u)" != 0 ]; then
  CALLER=$(id -un)
fi
CALLER_HOME=$(getent passwd "$CALLER" | cut -d: -f6)
[ "$CALLER" != "$(id -un)" ] || CALLER_HOME=${HOME:-$CALLER_HOME}

as_caller() { # COMMAND...
  if [ "$CALLER" = "$(id -un)" ]; then
    "$@"
  else
    runuser -u "$CALLER" -- env HOME="$CALLER_HOME" PATH="$PATH" "$@"
  fi
}

# Root finds the caller's toolchains, too: what rustup puts on the PATH looks for them in the home of
# whoever runs it. What cargo fetches for root goes to root's own home: the caller could not write to
# files of root's in theirs.
use_cargo() {
  PATH=$PATH:$CALLER_HOME/.cargo/bin
  [ "$CALLER" = "$(id -un)" ] || export RUSTUP_HOME="${RUSTUP_HOME:-$CALLER_HOME/.rustup}"
}

# Is there a compiler, and a recent one? Distributions often carry an older one.
rust_is_recent() {
  local version
  command -v cargo >/dev/null || return 1
  version=$(as_caller rustc --version 2>/dev/null | awk '{print $2}')
  [ -n "$version" ] \
    && [ "$(printf '%s\n' "$RUST_AT_LEAST" "$version" | sort -V | head -1)" = "$RUST_AT_LEAST" ]
}

ensure_rust() {
  use_cargo
  if ! rust_is_recent; then
    command -v rustup >/dev/null || install_rust
    if command -v rustup >/dev/null; then
      as_caller rustup toolchain install "$RUST_INSTALLED" --profile minimal
      as_caller rustup default "$RUST_INSTALLED"
      # Goes before an older one of the distribution.
      PATH=$CALLER_HOME/.cargo/bin:$PATH
    fi
    hash -r
    rust_is_recent || fail "There is no Rust $RUST_AT_LEAST or newer, and this system's packages have none." \
      "Install it with rustup, or build senryu elsewhere and give its file with --binary FILE."
    RESULT="Installed $(as_caller rustc --version | cut -d' ' -f1-2)"
    return
  fi
  RESULT="$(as_caller rustc --version | cut -d' ' -f1-2) is there"
}

# From the distribution, signed as all its packages are: rustup where there is one, else the
# compiler that Debian keeps current for its browsers, which takes an older one's place.
install_rust() {
  command -v apt-get >/dev/null || return 0
  detached apt-get update -q
  if is_offered rustup; then
    install_packages rustup
  elif is_offered rustc-web; then
    install_packages rustc-web cargo-web
  fi
}

# Not by grep -q, which would end apt-cache in the middle: a failure, with pipefail.
is_offered() { apt-cache policy "$1" | grep 'Candidate: [0-9]' >/dev/null; } # PACKAGE

# Parts of the toolchain that only tests need.
ensure_rust_components() { # COMPONENT...
  local component
  for component in "$@"; do
    case "$component" in
      rustfmt) as_caller rustfmt --version >/dev/null 2>&1 && continue ;;
      clippy) as_caller cargo clippy --version >/dev/null 2>&1 && continue ;;
    esac
    if command -v rustup >/dev/null; then
      as_caller rustup component add "$component"
    elif [ "$component" = rustfmt ]; then
      install_packages rustfmt-web
    fi
  done
}
