# Config vars come in from ENV_DIR; what dynos and later buildpacks need goes out.

# Names that a config var must not change while building.
PROTECTED='PATH|GIT_DIR|CPATH|CPPATH|LD_PRELOAD|LIBRARY_PATH|LD_LIBRARY_PATH|LANG|BUILD_DIR'
PROTECTED+='|CACHE_DIR|ENV_DIR|HOME|STACK|IFS|ENV|SHELLOPTS|EUID|UID|PPID|BASH.*|PYTHONHOME'
PROTECTED+='|VIRTUAL_ENV|UV_PROJECT_ENVIRONMENT'

# The settings among them that this buildpack reads itself. Only these become variables of its
# own shell: any other name could be one that it uses.
SETTINGS='DISABLE_COLLECTSTATIC|DEBUG_COLLECTSTATIC|SSL_CERT_FILE'
SETTINGS+='|(HTTPS?|https?|NO|no)_(PROXY|proxy)|PIP_(EXTRA_)?INDEX_URL|PIP_TRUSTED_HOST|PIP_CERT'
SETTINGS+='|UV_PYTHON_(INSTALL_MIRROR|DOWNLOADS_JSON_URL)'

# Changes of these change what an install makes.
INSTALL_SETTINGS='(PIP|UV|POETRY|PIPENV)_.*|(C|CPP|CXX|LD)FLAGS|CC|CXX'

# NAME=VALUE of each config var, for the programs of the app and of its package manager.
CONFIG=()

# Python is found under this name while building and later in a dyno, so that the paths that
# programs remember hold in both.
PYTHON_HOME=/app/.heroku/python
CPYTHON_HOME=/app/.heroku/cpython

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
  unset PYTHONHOME PYTHONPATH
  export LANG=${LANG:-C.UTF-8} PYTHONUNBUFFERED=1
  export PIP_CACHE_DIR=$CACHE_DIR/python/pip-cache PIP_DISABLE_PIP_VERSION_CHECK=1
  export PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
  export UV_CACHE_DIR=$CACHE_DIR/python/uv-cache UV_NO_PROGRESS=1 UV_LINK_MODE=copy
  export POETRY_CACHE_DIR=$CACHE_DIR/python/poetry-cache POETRY_NO_INTERACTION=1
  export PIPENV_CACHE_DIR=$CACHE_DIR/python/pipenv-cache PIPENV_NOSPIN=1 PIPENV_VERBOSITY=-1
}

# The build directory is not where the app will be: names under /app lead to it meanwhile.
environment_link_home() {
  mkdir -p /app/.heroku
  [ "$BUILD_DIR" = /app ] || ln -nsf "$BUILD_DIR/.heroku/$1" "/app/.heroku/$1"
}

environment_use_runtime() {
  export PATH="$PYTHON_HOME/bin:$PATH"
  export LIBRARY_PATH="/app/.heroku/vendor/lib:$PYTHON_HOME/lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
  local before=${LD_LIBRARY_PATH:-}
  export LD_LIBRARY_PATH="/app/.heroku/vendor/lib:$PYTHON_HOME/lib"
  LD_LIBRARY_PATH+="${before:+:$before}"
}

environment_write_profile() {
  mkdir -p "$BUILD_DIR/.profile.d"
  cp "$BUILDPACK_DIR"/profile/*.sh "$BUILD_DIR/.profile.d/"
}

# Buildpacks that come later build with this Python. The folder may be read-only.
environment_write_export() {
  [ -w "$BUILDPACK_DIR" ] || return 0
  {
    printf 'export PATH="%s/bin:$PATH"\n' "$PYTHON_HOME"
    printf 'export LIBRARY_PATH="/app/.heroku/vendor/lib:%s/lib:${LIBRARY_PATH:-}"\n' \
      "$PYTHON_HOME"
    printf 'export LD_LIBRARY_PATH="/app/.heroku/vendor/lib:%s/lib:${LD_LIBRARY_PATH:-}"\n' \
      "$PYTHON_HOME"
    printf 'export LANG="${LANG:-C.UTF-8}" PYTHONUNBUFFERED=1\n'
  } >"$BUILDPACK_DIR/export"
}
