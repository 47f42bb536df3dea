# The app's own scripts, at their places in the build.

scripts_run() { # NAME ARGUMENT...
  local name=$1
  shift
  detail "Running $name" ""
  local command=("$(dependencies_tool)" run "$name")
  if [ $# -gt 0 ]; then
    [ "$MANAGER" != npm ] || command+=(--)
    command+=("$@")
  fi
  run_logged "$WORK_DIR/script.log" "${command[@]}" || failure_script "$name" "$WORK_DIR/script.log"
  detail ""
}

scripts_run_if_present() { # NAME HEADLINE
  has_script "$1" || return 0
  headline "$2"
  scripts_run "$1"
}

# heroku-postbuild replaces build.
scripts_build_name() {
  if has_script heroku-postbuild; then
    echo heroku-postbuild
  elif has_script build; then
    echo build
  fi
}

scripts_build() {
  local name flags=()
  name=$(scripts_build_name)
  [ -n "$name" ] && [ "${SENRYU_NODE_MODE:-}" != test ] || return 0
  headline "Build"
  if has_script heroku-postbuild && has_script build; then
    detail "Detected both \"build\" and \"heroku-postbuild\" scripts"
  fi
  if [ "$name" = build ] && [ -n "${NODE_BUILD_FLAGS:-}" ]; then
    read -ra flags <<<"$NODE_BUILD_FLAGS"
  fi
  scripts_run "$name" "${flags[@]}"
}
