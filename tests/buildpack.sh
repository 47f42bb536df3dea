# The harness of the buildpacks' own tests: a build as the platform runs it (build image,
# read-only root, user 1000, no capabilities) and a dyno as it would start. A buildpack's `test`
# sets BUILDPACK, sources this and its tests, and calls `finished`. PATTERN, a regular expression,
# chooses tests by name.

PATTERN=${PATTERN:-.}
BUILD_IMAGE=${SENRYU_BUILD_IMAGE:-senryu/stack:build}
RUN_IMAGE=${SENRYU_RUN_IMAGE:-senryu/stack:run}
REPOSITORY=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
BUILDPACKS=$REPOSITORY/buildpacks
APPS=$REPOSITORY/tests/fixtures/apps
CA=/etc/ssl/certs/ca-certificates.crt

docker image inspect "$BUILD_IMAGE" "$RUN_IMAGE" >/dev/null 2>&1 \
  || { echo "The stack is missing: run scripts/stack first." >&2; exit 1; }

# Tens of thousands of small files come and go: in memory, where there is enough of it.
space=/tmp
if [ -w /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -n 1)" -gt 4000000 ] \
  && awk '/^MemAvailable/ { exit !($2 > 8000000) }' /proc/meminfo \
  && ! findmnt -no OPTIONS --target /dev/shm | grep -qw noexec; then
  space=/dev/shm
fi
CONTAINER=senryu-$BUILDPACK-test-$$
ROOT=$(mktemp -d "${TMPDIR:-$space}/senryu-$BUILDPACK.XXXXXX")
finish() {
  [ -z "${SHOW:-}" ] || cat "$VOLUME/out"
  docker rm -f "$CONTAINER" >/dev/null 2>&1
  rm -rf "$ROOT"
}
trap finish EXIT
trap 'exit 130' INT TERM

PASSED=0
FAILED=0
NAME=
ok() { PASSED=$((PASSED + 1)); }
bad() {
  FAILED=$((FAILED + 1))
  echo "FAILED  $NAME: $1" >&2
}
check() { # DESCRIPTION COMMAND...
  local what=$1
  shift
  if "$@" >/dev/null 2>&1; then ok; else bad "$what"; fi
}
says() { # TEXT
  if grep -qF -- "$1" "$VOLUME/out"; then ok; else
    bad "the output lacks: $1"
    tail -n 40 "$VOLUME/out" >&2
  fi
}
says_not() { if grep -qF -- "$1" "$VOLUME/out"; then bad "the output has: $1"; else ok; fi; }
status_is() {
  if [ "$STATUS" = "$1" ]; then ok; else
    bad "status $STATUS, not $1"
    tail -n 40 "$VOLUME/out" >&2
  fi
}
finished() {
  echo "$PASSED checks passed, $FAILED failed"
  [ "$FAILED" = 0 ]
}

# --- a build, as the platform runs it ----------------------------------------------------------

SOURCE=
VOLUME=

# NAME [SAMPLE]: a fresh volume, with SAMPLE as the source.
begin() {
  [ -z "$VOLUME" ] || rm -rf "$VOLUME"
  NAME=$1
  [[ $NAME =~ $PATTERN ]] || return 1
  echo "$NAME ($SECONDS s)"
  VOLUME=$ROOT/$NAME
  SOURCE=$VOLUME/source
  mkdir -p "$SOURCE" "$VOLUME"/{work/build,work/cache,work/result,app,tmp,env}
  [ -z "${2:-}" ] || cp -a "$APPS/$2/." "$SOURCE/"
  OPTIONS=()
  KEEP=1
  STEP=compile
}

config() { printf '%s' "$2" >"$VOLUME/env/$1"; }

# Moves what the last build kept to where it was, unless the source has it.
bring_back() {
  local work=$VOLUME/work path
  [ -f "$VOLUME/kept" ] || return 0
  while IFS= read -r path; do
    [ ! -e "$work/build/$path" ] && [ -d "$work/cache/keep/$path" ] || continue
    mkdir -p "$(dirname "$work/build/$path")"
    mv "$work/cache/keep/$path" "$work/build/$path"
  done <"$VOLUME/kept"
}

# Runs detect, compile and release; sets STATUS and MS and leaves the output in VOLUME/out.
build() {
  local work=$VOLUME/work
  rm -rf "$work/build" "$work/cache"/.senryu-{keep,outcome} "$VOLUME/app" "$VOLUME/tmp"
  mkdir -p "$work/build" "$VOLUME/app" "$VOLUME/tmp"
  cp -a "$SOURCE/." "$work/build/"
  chown -R 1000:1000 "$work/build" "$work/result" "$VOLUME/app" "$VOLUME/tmp"
  bring_back
  find "$work/build" "$work/cache" "$VOLUME/env" ! -user 1000 -exec chown -h 1000:1000 {} +
  local ca=() variable
  if [ -f "$CA" ]; then
    ca=(-v "$CA:$CA:ro" -e "npm_config_cafile=$CA")
    for variable in SSL_CERT_FILE NODE_EXTRA_CA_CERTS PIP_CERT REQUESTS_CA_BUNDLE \
      CURL_CA_BUNDLE GIT_SSL_CAINFO; do
      ca+=(-e "$variable=$CA")
    done
  fi
  docker run --name "$CONTAINER" --rm --init --label senryu.kind=build \
    --read-only --user 1000:1000 --cap-drop ALL --security-opt no-new-privileges \
    -v "$work:/work" -v "$VOLUME/app:/app" -v "$VOLUME/tmp:/tmp" -v "$VOLUME/env:/env:ro" \
    -v "$BUILDPACKS:/buildpacks:ro" "${ca[@]}" -e HOME=/app -e STACK=heroku-24 \
    -e SENRYU_KEEP="$KEEP" "${OPTIONS[@]}" -w /work/build "$BUILD_IMAGE" bash -c '
      cp -R "/buildpacks/$2" "/tmp/$2"
      started=${EPOCHREALTIME/./}
      status=0
      "/tmp/$2/bin/detect" /work/build >/work/result/detected || exit 99
      "/tmp/$2/bin/$1" /work/build /work/cache /env || status=$?
      "/tmp/$2/bin/release" /work/build >/work/result/release
      echo $(((${EPOCHREALTIME/./} - started) / 1000)) >/work/result/ms
      exit $status' build "$STEP" "$BUILDPACK" >"$VOLUME/out" 2>&1
  STATUS=$?
  MS=$(cat "$work/result/ms" 2>/dev/null)
}

# PATH: the build says that this decided about it, so that the platform need not build again.
reads() {
  check "it says that it reads $1" grep -qxF "reads $1" "$VOLUME/work/cache/.senryu-outcome"
}

# More decides about the build than files that it could name.
runs_always() {
  check "it is to run at every build" test ! -e "$VOLUME/work/cache/.senryu-outcome"
}

# What the platform does once the slug is stored; the slug stays for us to look at.
store() {
  local work=$VOLUME/work path
  rm -rf "$VOLUME/slug" "$VOLUME/kept"
  cp -al "$work/build" "$VOLUME/slug"
  [ "$KEEP" = 1 ] && [ -f "$work/cache/.senryu-keep" ] || return 0
  rm -rf "$work/cache/keep"
  while IFS= read -r path; do
    [ -d "$work/build/$path" ] || continue
    mkdir -p "$(dirname "$work/cache/keep/$path")"
    mv "$work/build/$path" "$work/cache/keep/$path"
    echo "$path" >>"$VOLUME/kept"
  done <"$work/cache/.senryu-keep"
}

# COMMAND: runs in the run image with the slug as /app, as a dyno does; prints its output.
dyno() {
  [ -e "$VOLUME/limit" ] || echo 536870912 >"$VOLUME/limit"
  docker run --rm --init --label senryu.kind=build --network none --user 1000:1000 \
    --cap-drop ALL -v "$VOLUME/slug:/app" \
    -v "$VOLUME/limit:/sys/fs/cgroup/memory/memory.limit_in_bytes:ro" \
    -e HOME=/app -e PORT=5000 -e DYNO=web.1 -e HEROKU_RELEASE_VERSION=v7 -w /app "$RUN_IMAGE" \
    bash -c 'for script in /app/.profile.d/*.sh; do . "$script"; done; '"$1" 2>&1
}

# COMMAND TEXT [PATH]: the app started by COMMAND answers TEXT at PATH.
answers() {
  local reply
  reply=$(dyno "$1"' & for i in $(seq 200); do
    curl -sf "http://localhost:5000'"${3:-/}"'" && break; sleep 0.05; done')
  if [[ $reply == *"$2"* ]]; then ok; else bad "the app answered: $reply"; fi
}

# DIRECTORY FOLDER...: the platform knows an unchanged layer by its files' inodes and times of
# change.
inodes() {
  (cd "$1" && find "${@:2}" -type f -printf '%p %i %C@\n' 2>/dev/null | sort)
}

report() { printf '%-28s %6s ms\n' "$NAME $1" "$MS"; }
