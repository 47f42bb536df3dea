# What each package manager does. _prepare makes the tool ready and sets COMMAND, which is shown
# and run; _text prints what decides about an install; _may_skip tells whether the same text always
# means the same install; _removes, whether the tool removes what is not wanted any more.

COMMAND=()

# --- pip ---------------------------------------------------------------------------------------

# FILE: its lines and those of the files that it includes.
manager_pip_read() {
  local line
  [ -f "$1" ] && [[ $'\n'$PIP_FILES != *$'\n'"$1"$'\n'* ]] || return 0
  PIP_FILES+=$1$'\n'
  while IFS= read -r line || [ -n "$line" ]; do
    PIP_TEXT+=$line$'\n'
    if [[ $line =~ ^[[:space:]]*(-r|-c|--requirement|--constraint)[[:space:]=]*([^[:space:]#]+) ]]; then
      manager_pip_read "$(dirname "$1")/${BASH_REMATCH[2]}"
    fi
  done <"$1"
}

manager_pip_text() {
  local PIP_FILES= PIP_TEXT=
  if [ "$MANIFEST" = setup.py ]; then
    cat setup.py
    return
  fi
  manager_pip_read ./requirements.txt
  [ "${SENRYU_PYTHON_MODE:-}" != test ] || manager_pip_read ./requirements-test.txt
  printf '%s' "$PIP_TEXT"
}

manager_pip_files() {
  local PIP_FILES= PIP_TEXT=
  manager_pip_read ./requirements.txt
  printf '%s' "$PIP_FILES"
}

# Lines with which pip looks for archives in a directory or takes one, or a list that is not here.
PIP_FILES_OF_LINES='(^|[[:space:]])(-f|--find-links)([[:space:]=]|$)'
PIP_FILES_OF_LINES+='|^[[:space:]]*[^[:space:]@#]+\.(whl|zip|tgz|tar\.gz|tar\.bz2)'
PIP_FILES_OF_LINES+='|^[[:space:]]*(-r|-c|--requirement|--constraint)[[:space:]=]*[^[:space:]]*(\$|://)'

# Local paths and repositories can change while the lines that name them do not.
manager_pip_may_skip() {
  [ "$MANIFEST" != setup.py ] && ! manager_pip_text \
    | grep -qE "^[[:space:]]*(-e|--editable|\.|/|file:)|(git|hg|svn|bzr)\+|@ *file:|^[^#;@ ]*/|$PIP_FILES_OF_LINES"
}

manager_pip_removes() { return 1; }

manager_pip_prepare() {
  COMMAND=(pip install -r requirements.txt)
  [ "$MANIFEST" != setup.py ] || COMMAND=(pip install --editable .)
  if [ "${SENRYU_PYTHON_MODE:-}" = test ] && [ -f requirements-test.txt ]; then
    COMMAND+=(-r requirements-test.txt)
  fi
  [ ! -x "$PYTHON_DIR/bin/pip" ] || return 0
  headline "Installing pip $PIP_VERSION"
  rm -f "$STAMP"
  # Versions of Python that this pip does not know any more keep the one that they bring.
  local version="==$PIP_VERSION"
  case "$PYTHON_VERSION" in 3.[0-9].*) version= ;; esac
  tools_pip "$PYTHON_HOME/bin/python" \
    "$(tools_bundled_pip "$CPYTHON_DIR"/lib/python*/ensurepip/_bundled)" "pip$version" \
    || tools_fail pip
}

manager_pip_install() {
  dependencies_run "${COMMAND[@]}" --exists-action=w --src="$PYTHON_HOME/src"
}

# --- uv ----------------------------------------------------------------------------------------

# Where the app's own package is, its backend finds by itself.
manager_layout() { [ ! -d src ] || echo src; }

manager_uv_text() {
  cat uv.lock pyproject.toml uv.toml 2>/dev/null || true
  manager_layout
}

manager_uv_may_skip() {
  local own='source = { editable = "." }'
  ! grep -E 'source = \{ (editable|directory|path|git) = ' uv.lock | grep -qvF "$own" || return 1
  ! grep -qF "$own" uv.lock || manager_uv_is_link
}

# Whether the app's own package is nothing but a link to its source, which the same pyproject.toml
# makes the same again.
manager_uv_is_link() {
  local pure='hatchling\.build|uv_build|flit_core\.buildapi|pdm\.backend'
  pure+='|poetry\.core\.masonry\.api'
  grep -qE "^build-backend *= *[\"']($pure)[\"']" pyproject.toml \
    && ! grep -qE '^ *dynamic *=|hooks|^\[tool\.(pdm|poetry)\.build' pyproject.toml
}

# Whether the app itself is a package that is installed.
manager_uv_has_own() { grep -qF 'source = { editable = "." }' uv.lock; }
manager_poetry_has_own() { ! grep -qE '^package-mode *= *false' pyproject.toml; }

manager_uv_removes() { return 0; }

manager_uv_prepare() {
  tools_uv say
  export UV_PROJECT_ENVIRONMENT=$PYTHON_HOME UV_NO_MANAGED_PYTHON=1 UV_PYTHON_DOWNLOADS=never
  COMMAND=(uv sync --locked)
  [ "${SENRYU_PYTHON_MODE:-}" = test ] || COMMAND+=(--no-default-groups)
}

manager_uv_install() {
  if ! grep -qE 'source = \{ (editable|directory) = ' uv.lock; then
    dependencies_run "${COMMAND[@]}" --compile-bytecode
    # What came ready from the index is in the environment now; only what was built here stays.
    uv cache prune --ci --quiet >/dev/null 2>&1 || true
    return 0
  fi
  # The app's own package is built anew each time, with what was fetched for that before: even the
  # index need not be asked.
  if with_config env -u PYTHONPATH UV_OFFLINE=1 "${COMMAND[@]}" --compile-bytecode \
    >"$WORK_DIR/install.log" 2>&1; then
    detail "Installed with what earlier builds have fetched"
  else
    dependencies_run "${COMMAND[@]}" --compile-bytecode
  fi
  uv cache prune --quiet >/dev/null 2>&1 || true
}

# --- Poetry ------------------------------------------------------------------------------------

manager_poetry_text() {
  cat poetry.lock pyproject.toml poetry.toml 2>/dev/null || true
  manager_layout
}

manager_poetry_may_skip() {
  ! grep -qE '^type = "(directory|file|git)"' poetry.lock \
    && ! grep -qsE '^\[tool\.poetry\.build\]|^[[:space:]]*build[[:space:]]*[=.]' pyproject.toml
}

manager_poetry_removes() { return 0; }

manager_poetry_prepare() {
  tools_own_environment poetry
  export VIRTUAL_ENV=$PYTHON_HOME POETRY_VIRTUALENVS_CREATE=false
  COMMAND=(poetry sync)
  [ "${SENRYU_PYTHON_MODE:-}" = test ] || COMMAND+=(--only main)
}

manager_poetry_install() { dependencies_run "${COMMAND[@]}" --compile --no-ansi; }

# --- Pipenv ------------------------------------------------------------------------------------

manager_pipenv_text() { cat Pipfile.lock Pipfile 2>/dev/null || true; }

manager_pipenv_may_skip() { ! grep -qE '"(path|file|git|editable)":' Pipfile.lock; }

manager_pipenv_removes() { return 1; }

# Procfiles say "pipenv run", which in a dyno needs no Pipenv: all is on the PATH.
manager_pipenv_prepare() {
  local shim=$PYTHON_DIR/bin/pipenv
  tools_own_environment pipenv
  export VIRTUAL_ENV=$PYTHON_HOME PIP_SRC=$PYTHON_HOME/src
  COMMAND=(pipenv install --deploy)
  [ "${SENRYU_PYTHON_MODE:-}" != test ] || COMMAND+=(--dev)
  if [ ! -e "$shim" ]; then
    cp "$BUILDPACK_DIR/lib/pipenv-shim" "$shim"
    chmod +x "$shim"
  fi
}

manager_pipenv_install() { dependencies_run "$WORK_DIR/bin/pipenv" "${COMMAND[@]:1}"; }
