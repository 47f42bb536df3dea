# Config vars come in from ENV_DIR; what dynos and later buildpacks need goes out.

# Names that a config var must not change while building.
PROTECTED='PATH|GIT_DIR|CPATH|CPPATH|LD_PRELOAD|LIBRARY_PATH|LD_LIBRARY_PATH|LANG|BUILD_DIR'
PROTECTED+='|CACHE_DIR|ENV_DIR|HOME|STACK|IFS|ENV|SHELLOPTS|EUID|UID|PPID|BASH.*'

# The settings among them that this buildpack reads itself. Only these become variables of its
# own shell: any other name could be one that it uses.
SETTINGS='NODE_ENV|NODE_OPTIONS|NODE_MODULES_CACHE|NODE_VERBOSE|NODE_BUILD_FLAGS'
SETTINGS+='|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|(HTTPS?|https?|NO|no)_(PROXY|proxy)'
SETTINGS+='|NPM_CONFIG_(LOGLEVEL|PRODUCTION|REGISTRY|CAFILE)|npm_config_(registry|cafile)'
SETTINGS+='|USE_NPM_INSTALL|YARN_(PRODUCTION|CACHE_FOLDER|REGISTRY|NPM_REGISTRY_SERVER)'
SETTINGS+='|YARN2_SKIP_PRUNING|PNPM_SKIP_PRUNING'

# NAME=VALUE of each config var, for the programs of the app and of its package manager.
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
  done
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

# Package managers keep what they fetch in the build cache.
environment_defaults() {
  export NODE_ENV=${NODE_ENV:-production}
  export NPM_CONFIG_LOGLEVEL=${NPM_CONFIG_LOGLEVEL:-error}
  export NODE_MODULES_CACHE=${NODE_MODULES_CACHE:-true}
  export NODE_VERBOSE=${NODE_VERBOSE:-false}
  export NODE_OPTIONS=${NODE_OPTIONS:---max_old_space_size=2560}
  export npm_config_cache=$CACHE_DIR/node/npm-cache
  export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false
  export npm_config_progress=false
  export YARN_CACHE_FOLDER=${YARN_CACHE_FOLDER:-$CACHE_DIR/node/yarn-cache}
  export npm_config_store_dir=$CACHE_DIR/node/pnpm-store npm_config_reporter=append-only
  export npm_config_confirm_modules_purge=false npm_config_manage_package_manager_versions=false
  export pnpm_config_store_dir=$npm_config_store_dir pnpm_config_confirm_modules_purge=false
}

environment_print() {
  headline "Creating runtime environment"
  detail "" "NPM_CONFIG_LOGLEVEL=$NPM_CONFIG_LOGLEVEL" "NODE_VERBOSE=$NODE_VERBOSE" \
    "NODE_ENV=$NODE_ENV" "NODE_MODULES_CACHE=$NODE_MODULES_CACHE" ""
}

environment_use_runtime() {
  export PATH="$BUILD_DIR/.heroku/node/bin:$BUILD_DIR/node_modules/.bin:$PATH"
  export NODE_HOME=$BUILD_DIR/.heroku/node
  # node-gyp takes the headers from here and fetches nothing.
  export npm_config_nodedir=$CACHE_DIR/node/headers
  export npm_package_config_node_gyp_nodedir=$npm_config_nodedir
}

environment_write_profile() {
  mkdir -p "$BUILD_DIR/.profile.d"
  cp "$BUILDPACK_DIR"/profile/*.sh "$BUILD_DIR/.profile.d/"
}

# Buildpacks that come later build with this Node.js. The folder may be read-only.
environment_write_export() {
  [ -w "$BUILDPACK_DIR" ] || return 0
  {
    printf 'export PATH="%s:%s:$PATH"\n' \
      "$BUILD_DIR/.heroku/node/bin" "$BUILD_DIR/node_modules/.bin"
    printf 'export NODE_HOME="%s"\n' "$BUILD_DIR/.heroku/node"
    printf 'export npm_config_nodedir="%s"\n' "$CACHE_DIR/node/headers"
    printf 'export NODE_OPTIONS="${NODE_OPTIONS:---max_old_space_size=2560}"\n'
    [ -z "${YARN_PATH:-}" ] || printf 'export SENRYU_APP_DIR="%s"\n' "$BUILD_DIR"
  } >"$BUILDPACK_DIR/export"
}
