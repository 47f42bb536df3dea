# Package managers, each at one version, from the package index. They stay in the build cache.

PIP_VERSION=26.3
UV_VERSION=0.13.9
POETRY_VERSION=2.5.1
PIPENV_VERSION=2026.10.3
TOOLS_DIR=$CACHE_DIR/python/tools

tools_version() { # NAME
  case "$1" in
    pip) echo "$PIP_VERSION" ;;
    uv) echo "$UV_VERSION" ;;
    poetry) echo "$POETRY_VERSION" ;;
    pipenv) echo "$PIPENV_VERSION" ;;
  esac
}

# The pip that a Python brings along, with which everything else is fetched.
tools_bundled_pip() { # DIRECTORY...
  local directory wheel
  for directory in "$@" /usr/share/python-wheels; do
    for wheel in "$directory"/pip-*.whl; do
      echo "$wheel/pip"
      return 0
    done
  done
  fail "The build image has no pip" "" "Its package python3-venv brings one; the stack's recipe" \
    "(scripts/stack) has it." >&2
}

tools_pip() { # PYTHON PIP ARGUMENT...
  local python=$1 pip=$2
  shift 2
  with_config "$python" "$pip" install --quiet --no-warn-script-location "$@" \
    >"$WORK_DIR/tool.log" 2>&1
}

tools_fail() { # NAME
  fail "$1 $(tools_version "$1") could not be installed" "" \
    "$(grep -v '^$' "$WORK_DIR/tool.log" | tail -n 5)" "" \
    "It comes from the package index. Check that builds reach it (PIP_INDEX_URL names another)," \
    "then push again."
}

# Makes sure of uv, and puts it on the PATH.
tools_uv() {
  local directory=$TOOLS_DIR/uv-$UV_VERSION
  if [ ! -x "$directory/bin/uv" ]; then
    headline "Installing uv $UV_VERSION"
    rm -rf "$TOOLS_DIR"/uv-*
    tools_pip /usr/bin/python3 "$(tools_bundled_pip)" --no-deps --no-cache-dir \
      --only-binary :all: --target "$WORK_DIR/uv" "uv==$UV_VERSION" || tools_fail uv
    mkdir -p "$TOOLS_DIR"
    mv "$WORK_DIR/uv" "$directory"
  elif [ "${1:-}" = say ]; then
    headline "Using cached uv $UV_VERSION"
  fi
  export PATH="$directory/bin:$PATH"
}

# NAME: Poetry or Pipenv, in an environment of its own that the app does not see. Each consists of
# dozens of packages, which uv fetches side by side.
tools_own_environment() {
  local name=$1 version directory
  version=$(tools_version "$name")
  # The stack's Python is part of the name: the environment is of no use to another.
  directory=$TOOLS_DIR/$name-$version-$(versions_stack)
  if [ -x "$directory/bin/$name" ]; then
    headline "Using cached $name $version"
  else
    (tools_uv
      headline "Installing $name $version"
      rm -rf "$TOOLS_DIR/$name"-*
      /usr/bin/python3 -m venv --without-pip "$directory"
      [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=$PIP_INDEX_URL
      with_config uv pip install --quiet --no-cache --python "$directory/bin/python" \
        "$name==$version" >"$WORK_DIR/tool.log" 2>&1 \
        || { rm -rf "$directory"; tools_fail "$name"; })
  fi
  mkdir -p "$WORK_DIR/bin"
  ln -sf "$directory/bin/$name" "$WORK_DIR/bin/$name"
  export PATH="$WORK_DIR/bin:$PATH"
}
