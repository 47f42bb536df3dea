# Django's static files, collected while building, since a dyno's disk does not last.

# A Python is asked only where packages may lie elsewhere, which takes it longer than all else that
# a build with nothing new does.
django_is_there() {
  local links places=("$PYTHON_DIR"/lib/python*/site-packages/django/__init__.py)
  [ ${#places[@]} = 0 ] || return 0
  links=("$PYTHON_DIR"/lib/python*/site-packages/{*.pth,*.egg-link,__editable__*})
  [ ${#links[@]} -gt 0 ] || return 1
  (cd "$WORK_DIR" && "$PYTHON_HOME/bin/python" -c \
    'import importlib.util, sys; sys.exit(importlib.util.find_spec("django") is None)')
}

# The manage.py that is nearest to the root.
django_manage_file() {
  find . -maxdepth 3 -type f -name manage.py ! -path './.heroku/*' -printf '%d\t%P\n' \
    | sort -n | head -n 1 | cut -f2
}

django_collectstatic() {
  local manage
  if [ "${DISABLE_COLLECTSTATIC:-0}" != 0 ]; then
    headline "Skipping Django collectstatic since the env var DISABLE_COLLECTSTATIC is set."
    return 0
  fi
  django_is_there || return 0
  outcome_is_of_this_build
  manage=$(django_manage_file)
  if [ -z "$manage" ]; then
    headline "Skipping Django collectstatic since no manage.py file found."
    return 0
  fi
  headline "\$ python $manage collectstatic --noinput"
  # Nothing is compiled into the environment, which goes back to the cache as it is.
  run_logged "$WORK_DIR/collectstatic.log" '^(Post-processed|Copying) |^$' \
    env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="${PYTHONPATH:-.}" \
    "$PYTHON_HOME/bin/python" "$manage" collectstatic --noinput --traceback \
    || django_fail "$manage"
}

django_fail() { # MANAGE-FILE
  if [ "${DEBUG_COLLECTSTATIC:-0}" = 1 ]; then
    headline "Names of the variables that collectstatic was run with"
    detail "$(with_config env -0 | cut -z -d= -f1 | tr '\0' ' ')"
  fi
  local why="The traceback above says what went wrong."
  if grep -q 'STATIC_ROOT' "$WORK_DIR/collectstatic.log"; then
    why="STATIC_ROOT is not set to a folder. In the settings: STATIC_ROOT = BASE_DIR / \"staticfiles\""
  elif grep -qE "ImproperlyConfigured.*SECRET_KEY|KeyError: '" "$WORK_DIR/collectstatic.log"; then
    why="A setting wants a config var that is not set: config:set it, or give it a default."
  elif grep -qE 'ModuleNotFoundError|ImportError' "$WORK_DIR/collectstatic.log"; then
    why="A module is missing: is it in $MANIFEST?"
  elif grep -qE 'OperationalError|could not (connect|translate)|Connection refused' \
    "$WORK_DIR/collectstatic.log"; then
    why="The app asks a database while it is built; there it has none. Do so later."
  fi
  fail "Unable to generate Django static files" "" \
    "\"python $1 collectstatic --noinput\" failed. $why" "" \
    "Repair that, or, if the app needs no static files, switch this off and push again:" "" \
    "  senryu config:set DISABLE_COLLECTSTATIC=1"
}
