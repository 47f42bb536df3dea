# Which version a range means, asked of the registry through its own client. Lists and answers
# are kept for a day, and used however old they are when the registry cannot be reached.

DAY_SECONDS=86400

versions_print() {
  detail "engines.node (package.json):   ${NODE_RANGE:-unspecified}"
  case "$MANAGER" in
    npm) detail "engines.npm (package.json):    ${NPM_RANGE:-unspecified (use default)}" ;;
    yarn | berry)
      detail "engines.yarn (package.json):   ${YARN_RANGE:-unspecified (use default)}" ;;
    pnpm) detail "engines.pnpm (package.json):   ${PNPM_RANGE:-unspecified (use default)}" ;;
  esac
  [ -z "$PACKAGE_MANAGER" ] || detail "packageManager (package.json): ${PACKAGE_MANAGER%%+*}"
  detail ""
  versions_warn
}

# What makes the next build another one than this, in Heroku's words.
versions_warn() {
  if [ -z "$NODE_RANGE" ]; then
    warning "Node version not specified in package.json" \
      "The newest long-term release is taken. Name the one that you develop with:" \
      "\"engines\": { \"node\": \"24.x\" }" ""
  elif [[ $NODE_RANGE == '>'* && $NODE_RANGE != *'<'* ]]; then
    warning "Dangerous semver range (>) in engines.node" \
      "Any newer Node.js fits it, so a push may bring another major version. Name one: 24.x" ""
  fi
}

# The registry's client that the build image brings, with a cache that goes when the build ends.
registry() { # CACHE ARGUMENT...
  local cache=$1
  shift
  command -v npm >/dev/null || {
    echo "The build image has no npm, through which this buildpack fetches Node.js." >&2
    return 1
  }
  env -u NODE_OPTIONS npm_config_cache="$cache" npm_config_loglevel=error \
    NPM_CONFIG_LOGLEVEL=error npm_config_userconfig=/dev/null npm "$@"
}

# PACKAGE: makes sure of a list of its versions, at most a day old if that can be had.
versions_list() {
  local file=$CACHE_DIR/node/versions/${1//\//_}.json
  mkdir -p "${file%/*}"
  if [ ! -s "$file" ] || [ -n "$(find "$file" -mmin +1440)" ]; then
    if (cd "$WORK_DIR" && registry "$WORK_DIR/cache.view" view "$1" versions --json) \
      >"$WORK_DIR/versions" 2>"$WORK_DIR/versions.log" && [ -s "$WORK_DIR/versions" ]; then
      mv "$WORK_DIR/versions" "$file"
    elif [ -s "$file" ]; then
      warning "The list of versions of $1 could not be refreshed; using an older one"
    else
      fail "The versions of $1 could not be looked up" "" \
        "$(tail -n 5 "$WORK_DIR/versions.log")" "" \
        "The registry did not answer the build. Check the network and the registry setting" \
        "(NPM_CONFIG_REGISTRY), then push again."
    fi
  fi
  LIST=$file
}

# PACKAGE RANGE LABEL: sets RESOLVED to the newest version that fits.
versions_resolve() {
  local key memo answered range=
  RESOLVED=
  key=${2//[^A-Za-z0-9.]/_}
  memo=$CACHE_DIR/node/resolved/${1//\//_}/${key:0:100}
  if [ -f "$memo" ]; then
    { IFS= read -r answered && IFS= read -r range && IFS= read -r RESOLVED; } <"$memo" || true
    if [ "$range" = "$2" ] && [ -n "$RESOLVED" ] \
      && [ $((EPOCHSECONDS - answered)) -lt "$DAY_SECONDS" ]; then
      return 0
    fi
  fi
  versions_list "$1"
  local status=0
  RESOLVED=$(env -u NODE_OPTIONS node "$BUILDPACK_DIR/lib/semver.cjs" "$2" <"$LIST") || status=$?
  case "$status" in
    0) ;;
    3) fail "Invalid version of $3 in package.json: $2" "" \
      "This is no version and no range of versions. Write for example \"24.x\" or \"24.1.0\"." ;;
    *) rm -f "$LIST"
      fail "The versions of $3 could not be read" "" "The registry answered with something" \
        "unexpected. Push again; the answer is not kept." ;;
  esac
  if [ -z "$RESOLVED" ]; then
    local newest
    newest=$(env -u NODE_OPTIONS node "$BUILDPACK_DIR/lib/semver.cjs" '*' <"$LIST")
    fail "Unknown version of $3: $2" "" "No released version fits; the newest is $newest." \
      "Change \"$3\" under \"engines\" in package.json to one that exists."
  fi
  mkdir -p "${memo%/*}"
  printf '%s\n' "$EPOCHSECONDS" "$2" "$RESOLVED" >"$memo"
}
