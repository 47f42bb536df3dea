# The app's dependencies: installed when something that decides about them has changed, and
# otherwise taken over as they are.

# The environment's stamp says what it stands on (line 1) and what was installed into it (line 2);
# it is away while an install runs.
STAMP=$PYTHON_DIR/.senryu
FINGERPRINT=

dependencies_install() {
  local base installed
  stamp_read "$CPYTHON_DIR"
  base="format 1 ${STACK:-} $PYTHON_VERSION ${STAMP_LINES[0]} $MANAGER"
  base+=" $(tools_version "$MANAGER") ${SENRYU_PYTHON_MODE:-}"
  FINGERPRINT=$(dependencies_fingerprint)
  stamp_read "$PYTHON_DIR"
  installed=${STAMP_LINES[1]}
  if [ "${STAMP_LINES[0]}" != "$base" ]; then
    [ ! -f "$STAMP" ] || headline "Discarding cached dependencies, as Python or its tools changed"
    runtime_make_environment
    installed=
  elif [ "$installed" != "$FINGERPRINT" ] && ! "manager_${MANAGER}_removes"; then
    headline "Discarding cached dependencies, as $MANIFEST or its settings changed"
    runtime_make_environment
    installed=
  fi
  "manager_${MANAGER}_prepare"
  if [ "$installed" = "$FINGERPRINT" ] && dependencies_may_skip; then
    headline "Installing dependencies using '${COMMAND[*]}'"
    detail "Nothing has changed since the last build"
    dependencies_relocate
    return 0
  fi
  [ ! -f "$STAMP" ] || mv "$STAMP" "$WORK_DIR/stamp"
  headline "Installing dependencies using '${COMMAND[*]}'"
  "manager_${MANAGER}_install"
  dependencies_relocate
  # The file stays the same one if it says the same: a layer is known by its files.
  printf '%s\n' "$base" "$FINGERPRINT" | cmp -s - "$WORK_DIR/stamp" \
    || printf '%s\n' "$base" "$FINGERPRINT" >"$WORK_DIR/stamp"
  mv "$WORK_DIR/stamp" "$STAMP"
}

# Whether the same fingerprint always means the same install. Settings can name files, too.
dependencies_may_skip() {
  local pair named='^(PIP|UV)_(BUILD_)?(CONSTRAINT|OVERRIDE|REQUIREMENT|CONFIG_FILE|FIND_LINKS)='
  for pair in "${CONFIG[@]}"; do
    [[ ! $pair =~ $named ]] || return 1
  done
  "manager_${MANAGER}_may_skip"
}

# Everything that an installed environment depends on: the manager's files, the settings that
# installers read, and those that the files name.
dependencies_fingerprint() {
  local text pair name
  text=$("manager_${MANAGER}_text")
  {
    printf '%s\n' "$text"
    for pair in "${CONFIG[@]}"; do
      name=${pair%%=*}
      if [[ $name =~ ^($INSTALL_SETTINGS)$ ]] || [[ $text == *"\${$name}"* ]]; then
        printf '%s\n' "$pair"
      fi
    done
  } | sha256sum | cut -c1-64
}

# COMMAND...: runs an installing command; its failure ends the build with an explanation.
dependencies_run() {
  run_logged "$WORK_DIR/install.log" '^Requirement already satisfied' \
    env -u PYTHONPATH "$@" || failure_explain "$WORK_DIR/install.log"
}

# What is installed from the app's own source remembers where that was while building. In a dyno it
# is under /app, and so that it can be used before, /app leads there now.
dependencies_relocate() {
  local found entry
  [ "$BUILD_DIR" != /app ] || return 0
  found=$(dependencies_links "$BUILD_DIR")
  [ -z "$found" ] || xargs -d '\n' sed -i "s#$BUILD_DIR#/app#g" <<<"$found"
  [ -n "$(dependencies_links /app)" ] || return 0
  for entry in "$BUILD_DIR"/*; do
    [ -e "/app/${entry##*/}" ] || ln -s "$entry" "/app/${entry##*/}"
  done
}

dependencies_links() { # PLACE: the files that lead there.
  local links=("$PYTHON_DIR"/lib/*/site-packages/{,*/}{*.pth,*.egg-link,__editable__*})
  [ ${#links[@]} = 0 ] || grep -slF -d skip -- "$1" "${links[@]}" || true
}
