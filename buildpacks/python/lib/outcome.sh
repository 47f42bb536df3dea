# Says in CACHE_DIR/.senryu-outcome what decided about this build. While that stays as it is, the
# platform uses what was built again and does not ask this buildpack. Nothing is said where more
# decides than files that can be named, or where users should be told something at each build.

OUTCOME=yes

outcome_is_of_this_build() { OUTCOME=no; }

outcome_declare() {
  local path
  [ "$OUTCOME" = yes ] && [ -z "${SENRYU_PYTHON_MODE:-}" ] && dependencies_may_skip || return 0
  # A package of the app's own is found by what is in the source.
  case "$MANAGER" in
    uv | poetry) ! "manager_${MANAGER}_has_own" || return 0 ;;
  esac
  {
    printf 'reads %s\n' requirements.txt Pipfile Pipfile.lock poetry.lock poetry.toml uv.lock uv.toml \
      pyproject.toml setup.py runtime.txt .python-version bin/pre_compile bin/post_compile \
      {venv,.venv,env}/pyvenv.cfg
    [ "$MANAGER" != pip ] || manager_pip_files | sed 's/^/reads /'
    for path in "$BUILDPACK_DIR"/profile/*.sh; do
      printf 'writes .profile.d/%s\n' "${path##*/}"
    done
  } >"$CACHE_DIR/.senryu-outcome"
}
