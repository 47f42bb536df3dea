# The toolchain that the app asks for. The build image has the "go" command alone, which fetches
# whole toolchains as modules, with their checksums, and hands over to them.

GO_VERSION=    # 1.22.12
VERSION_ORIGIN=
TOOLCHAIN_DIR= # where it is
DAY_SECONDS=86400

# The build image's own "go", for questions about versions.
toolchain_bootstrap() { # ARGUMENT...
  local program
  program=$(readlink -f "$(command -v go)")
  (cd "$WORK_DIR" && GOROOT=${program%/bin/go} GOTOOLCHAIN=local GOFLAGS=-mod=mod go "$@")
}

toolchain_choose() {
  local request
  command -v go >/dev/null || fail "The build image has no \"go\" command" "" \
    "This buildpack fetches Go through it. Make the stack anew with scripts/stack."
  if [ -n "${GOVERSION:-}" ]; then
    request=$GOVERSION VERSION_ORIGIN="the config var GOVERSION"
  elif [ -n "$HEROKU_VERSION" ]; then
    request=$HEROKU_VERSION VERSION_ORIGIN="go.mod (+heroku goVersion)"
  elif [ -n "$TOOLCHAIN_LINE" ]; then
    request=$TOOLCHAIN_LINE VERSION_ORIGIN="go.mod (toolchain)"
  elif [ -n "$GO_LINE" ]; then
    request=$GO_LINE VERSION_ORIGIN="go.mod (go)"
  else
    request=latest VERSION_ORIGIN=
  fi
  request=${request#go}
  [[ $request =~ ^(latest|1(\.[0-9]+){1,2}((rc|beta)[0-9]+)?)$ ]] \
    || fail "Invalid version of Go in $VERSION_ORIGIN: $request" "" \
      "Write 1.22 for the newest of a line, or 1.22.3 for exactly that one."
  toolchain_resolve "$request"
}

# REQUEST: sets GO_VERSION. The answer is kept for a day, and used however old it is when nobody
# answers.
toolchain_resolve() {
  local memo=$CACHE_DIR/go/resolved/$1 answered=0
  # A version in full needs no answer.
  if [[ $1 =~ ^1\.[0-9]+(\.[0-9]+|(rc|beta)[0-9]+)$ ]]; then
    GO_VERSION=$1
    return 0
  fi
  [ ! -f "$memo" ] || { read -r answered GO_VERSION <"$memo" || true; }
  [ $((EPOCHSECONDS - answered)) -ge "$DAY_SECONDS" ] || return 0
  if toolchain_bootstrap list -m -f '{{.Version}}' "go@$1" >"$WORK_DIR/version" \
    2>"$WORK_DIR/version.log"; then
    GO_VERSION=$(<"$WORK_DIR/version")
    mkdir -p "${memo%/*}"
    printf '%s %s\n' "$EPOCHSECONDS" "$GO_VERSION" >"$memo"
  elif [ -n "$GO_VERSION" ]; then
    warning "The newest Go $1 could not be looked up; using $GO_VERSION as last time"
  elif grep -qE 'no matching versions|not found|unknown revision' "$WORK_DIR/version.log"; then
    toolchain_fail_unknown "$1"
  else
    fail "The newest Go $1 could not be looked up" "" "$(tail -n 4 "$WORK_DIR/version.log")" "" \
      "The module proxy did not answer the build. Check the network and the config var GOPROXY," \
      "then push again."
  fi
}

# Makes the list of all versions in WORK_DIR/known; empty if nobody answers.
toolchain_list() {
  toolchain_bootstrap list -m -versions go 2>/dev/null | tr ' ' '\n' \
    | grep -E '^1\.[0-9]' | sort -V >"$WORK_DIR/known" || true
}

# The newest of the asked line, or else of every line there is.
toolchain_fail_unknown() { # REQUEST
  local near line=${1%.*}
  case "$1" in 1.*.*) ;; *) line=$1 ;; esac
  toolchain_list
  near=$(grep -E "^${line//./\\.}\.[0-9]+$" "$WORK_DIR/known" | tail -n 6 | tr '\n' ' ') || true
  [ -n "$near" ] || near=$(awk -F. '{ last[$1 "." $2] = $0 } END { for (l in last) print last[l] }' \
    <(grep -v '[a-z]' "$WORK_DIR/known") | sort -V | tail -n 5 | tr '\n' ' ')
  fail "Go $1 does not exist" "" "It is asked for in ${VERSION_ORIGIN:-nothing}. Near it are:" "" \
    "  ${near:-none that the module proxy knows}" "" "Change it, commit, and push again."
}

# Where the toolchain of GO_VERSION is, if it is there.
toolchain_find() {
  local found
  for found in "$GOMODCACHE/golang.org/toolchain@v0.0.1-go$GO_VERSION".linux-*; do
    [ ! -x "$found/bin/go" ] || TOOLCHAIN_DIR=$found
  done
  [ -n "$TOOLCHAIN_DIR" ]
}

toolchain_use() {
  local other
  if toolchain_find; then
    headline "Using go$GO_VERSION${VERSION_ORIGIN:+ specified in $VERSION_ORIGIN}"
  else
    headline "Installing go$GO_VERSION${VERSION_ORIGIN:+ specified in $VERSION_ORIGIN}"
    toolchain_fetch
    toolchain_find || fail "go$GO_VERSION is not where it should be" "" \
      "Purge the build cache and push again."
  fi
  # What was fetched for other versions is of no use any more.
  for other in "$GOMODCACHE"/golang.org/toolchain@*; do
    [ "$other" = "$TOOLCHAIN_DIR" ] || rm -rf "$other"
  done
  export PATH="$TOOLCHAIN_DIR/bin:$PATH" GOTOOLCHAIN=local
}

toolchain_fetch() {
  local program
  program=$(readlink -f "$(command -v go)")
  (cd "$WORK_DIR" && GOROOT=${program%/bin/go} GOTOOLCHAIN=go$GO_VERSION GOFLAGS=-modcacherw \
    go version) >"$WORK_DIR/fetch.log" 2>&1 && return 0
  # Proxies say in many ways that they do not have it; whether it exists, their list tells.
  toolchain_list
  if [ -s "$WORK_DIR/known" ] && ! grep -qxF "$GO_VERSION" "$WORK_DIR/known"; then
    toolchain_fail_unknown "$GO_VERSION"
  fi
  fail "go$GO_VERSION could not be downloaded" "" "$(tail -n 4 "$WORK_DIR/fetch.log")" "" \
    "It comes through the module proxy. Check the network and the config var GOPROXY, then push" \
    "again."
}

# Only where the app wants to compile in a dyno.
toolchain_keep_in_slug() {
  [ "${GO_INSTALL_TOOLS_IN_IMAGE:-}" = true ] || [ "${SENRYU_GO_MODE:-}" = test ] || return 0
  headline "Copying the toolchain into the slug"
  mkdir -p .heroku
  cp -a "$TOOLCHAIN_DIR" .heroku/go
}
