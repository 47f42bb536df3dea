# Config vars come in from ENV_DIR; what dynos and later buildpacks need goes out.

# Names that a config var must not change while building.
PROTECTED='PATH|GIT_DIR|CPATH|CPPATH|LD_PRELOAD|LIBRARY_PATH|LD_LIBRARY_PATH|LANG|BUILD_DIR'
PROTECTED+='|CACHE_DIR|ENV_DIR|HOME|STACK|IFS|ENV|SHELLOPTS|EUID|UID|PPID|BASH.*'
PROTECTED+='|GOROOT|GOPATH|GOBIN|GOCACHE|GOMODCACHE|GOTOOLCHAIN'

# The settings among them that this buildpack reads itself. Only these become variables of its
# own shell: any other name could be one that it uses.
SETTINGS='GOVERSION|GO_INSTALL_PACKAGE_SPEC|GO_INSTALL_TOOLS_IN_IMAGE|GO_LINKER_(SYMBOL|VALUE)'
SETTINGS+='|GO_TEST_SKIP_BENCHMARK|SSL_CERT_FILE|(HTTPS?|https?|NO|no)_(PROXY|proxy)'
SETTINGS+='|GOPROXY|GONOPROXY|GOPRIVATE|GONOSUMDB|GOSUMDB|GOINSECURE'

# NAME=VALUE of each config var, for the programs of the app and for the compiler.
CONFIG=()

environment_load() { # ENV_DIR
  local file name value
  [ -d "${1:-}" ] || return 0
  for file in "$1"/*; do
    name=${file##*/}
    [ -f "$file" ] || continue
    [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
    [[ ! $name =~ ^($PROTECTED)$ ]] || continue
    value=
    IFS= read -r -d '' value <"$file" || true
    CONFIG+=("$name=$value")
    [[ ! $name =~ ^($SETTINGS)$ ]] || export "$name=$value"
    [[ ! $name =~ ^GO_GIT_CRED__([A-Z]+)__([A-Z0-9_]+)$ ]] || environment_credential \
      "${BASH_REMATCH[1],,}" "${BASH_REMATCH[2],,}" "$name"
  done
}

# PROTOCOL HOST NAME: private modules. The config var NAME holds USER:TOKEN or TOKEN for HOST, which
# has __ for its dots. Git asks for it when it needs it; it is in no file and no argument list.
environment_credential() {
  local host=${2//__/.}
  GIT_CONFIG_COUNT=$((${GIT_CONFIG_COUNT:-0} + 1))
  local number=$((GIT_CONFIG_COUNT - 1))
  export GIT_CONFIG_COUNT "GIT_CONFIG_KEY_$number=credential.$1://$host.helper"
  # shellcheck disable=SC2016
  export "GIT_CONFIG_VALUE_$number"='!f() { case "$'"$3"'" in *:*) u=${'"$3"'%%:*}; p=${'"$3"'#*:} ;;
    *) u=$'"$3"'; p=x-oauth-basic ;; esac; printf "username=%s\npassword=%s\n" "$u" "$p"; }; f'
}

# Runs COMMAND with the config vars, which are never in an argument list.
with_config() { # COMMAND...
  (
    for pair in "${CONFIG[@]}"; do
      export "$pair"
    done
    exec "$@"
  )
}

environment_defaults() {
  export GOPATH=$CACHE_DIR/go/path GOMODCACHE=$CACHE_DIR/go/modules GOCACHE=$CACHE_DIR/go/compiled
  export GOBIN=$WORK_DIR/bin GIT_TERMINAL_PROMPT=0
  # Modules are written so that the cache can be removed.
  export GOFLAGS="-modcacherw${GOFLAGS:+ $GOFLAGS}"
  # Every tool of the bootstrapping "go" is told where that lies; whole toolchains know it.
  unset GOROOT
}

environment_write_profile() {
  mkdir -p "$BUILD_DIR/.profile.d"
  cp "$BUILDPACK_DIR"/profile/go.sh "$BUILD_DIR/.profile.d/"
}

# Buildpacks that come later build with this toolchain. The folder may be read-only.
environment_write_export() {
  [ -w "$BUILDPACK_DIR" ] || return 0
  {
    printf 'export PATH="%s/bin:%s/bin:$PATH"\n' "$TOOLCHAIN_DIR" "$BUILD_DIR"
    printf 'export GOPATH="%s" GOMODCACHE="%s" GOCACHE="%s"\n' "$GOPATH" "$GOMODCACHE" "$GOCACHE"
    printf 'export GOTOOLCHAIN=local\n'
  } >"$BUILDPACK_DIR/export"
}
