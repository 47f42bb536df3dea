# Which Python the app asks for, where it says so, and which exact version that means.

VERSION_REQUEST= # 3.13 or 3.13.5; empty when the app says nothing
VERSION_ORIGIN=  # the file that says it
PYTHON_VERSION=  # 3.13.5
STACK_PYTHON=    # 3.11.2, the stack's own
STACK_KEY=       # changes when that does, also by a security update that keeps its number
VERSION_FORM='(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))?'

versions_request() {
  if [ -f runtime.txt ]; then
    versions_from_runtime_txt
  elif [ -f .python-version ]; then
    versions_from_file
  elif [ "$MANAGER" = pipenv ]; then
    versions_from_pipfile
  fi
}

versions_from_runtime_txt() {
  local content
  content=$(tr -d '\r' <runtime.txt)
  [[ $content =~ ^[[:space:]]*python-($VERSION_FORM)[[:space:]]*$ ]] \
    || versions_fail_form runtime.txt "$content" python-
  VERSION_REQUEST=${BASH_REMATCH[1]}
  VERSION_ORIGIN=runtime.txt
  warning "The file runtime.txt is deprecated" \
    "Replace it by a file .python-version, which other tools read too:" "" \
    "  git rm runtime.txt" "  echo ${VERSION_REQUEST%.*} > .python-version" \
    "  git add .python-version" ""
}

versions_from_file() {
  local line lines=()
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    [[ $line =~ ^[[:space:]]*(#.*)?$ ]] || lines+=("$line")
  done <.python-version
  case "${#lines[@]}" in
    1) ;;
    0) fail "No version in .python-version" "" "The file has no line that is not a comment." \
      "Write a version into it: $(versions_stack_minor)" ;;
    *) fail "Several versions in .python-version" "" "It names: ${lines[*]}" "" \
      "Leave the one that the app runs on, and put # before the others." ;;
  esac
  [[ ${lines[0]} =~ ^[[:space:]]*($VERSION_FORM)[[:space:]]*$ ]] \
    || versions_fail_form .python-version "${lines[0]}" ""
  VERSION_REQUEST=${BASH_REMATCH[1]}
  VERSION_ORIGIN=.python-version
}

versions_from_pipfile() {
  local version
  version=$(jq -r '._meta.requires | .python_full_version // .python_version // ""' \
    Pipfile.lock 2>"$WORK_DIR/jq") || fail "Pipfile.lock could not be read" "" \
    "$(sed 's/^jq: //' "$WORK_DIR/jq")" "" "Make it anew: pipenv lock"
  [ -n "$version" ] || return 0
  [[ $version =~ ^$VERSION_FORM$ ]] || versions_fail_form Pipfile "$version" ""
  VERSION_REQUEST=$version
  VERSION_ORIGIN=Pipfile.lock
}

versions_fail_form() { # FILE CONTENT PREFIX
  fail "Invalid Python version in $1" "" "This is not a version: $2" "" \
    "Write ${3}X.Y for the newest of a line, which is best, or ${3}X.Y.Z for exactly that one;" \
    "for example $3$(versions_stack_minor)."
}

# Looks at the stack's own Python. Its number need not be asked for where the last build's copy is
# of the very same file.
versions_stack_look() {
  local mark
  mark=$(stat -L -c '%s.%Y' /usr/bin/python3)
  stamp_read "$CPYTHON_DIR"
  if [[ ${STAMP_LINES[0]} =~ ^stack\ ([0-9.]+)\ (.*)$ && ${BASH_REMATCH[2]} = "$mark" ]]; then
    STACK_PYTHON=${BASH_REMATCH[1]}
  else
    STACK_PYTHON=$(/usr/bin/python3 -c 'import platform; print(platform.python_version())')
  fi
  STACK_KEY="stack $STACK_PYTHON $mark"
}

versions_stack() {
  [ -n "$STACK_PYTHON" ] || versions_stack_look
  echo "$STACK_PYTHON"
}

versions_stack_minor() { versions_stack | cut -d. -f1-2; }

# Whether the stack's own satisfies the request.
versions_stack_fits() {
  [ -z "$VERSION_REQUEST" ] || [ "$VERSION_REQUEST" = "$STACK_PYTHON" ] \
    || [ "$VERSION_REQUEST" = "${STACK_PYTHON%.*}" ]
}

versions_print() { # VERSION
  if [ -n "$VERSION_ORIGIN" ]; then
    headline "Using Python $1 specified in $VERSION_ORIGIN"
  else
    headline "No Python version was specified. Using the stack's own: Python $1"
    detail "To choose one, write it into a file .python-version, such as ${1%.*}"
  fi
}

# Sets PYTHON_VERSION to what uv knows under the request; it knows every build that the makers of
# its Pythons have published, and where.
versions_resolve() {
  local status=0
  PYTHON_VERSION=$(uv python list --all-versions --only-downloads --output-format json \
    2>"$WORK_DIR/list.log" | /usr/bin/python3 "$BUILDPACK_DIR/lib/near.py" "$VERSION_REQUEST" \
      2>"$WORK_DIR/near") || status=$?
  case "$status" in
    0) ;;
    3) fail "Python $VERSION_REQUEST cannot be had" "" \
      "No build of this version is published for this stack. Near it are:" "" \
      "$(sed 's/^/  /' "$WORK_DIR/near")" "" \
      "The stack's own is $(versions_stack). Change $VERSION_ORIGIN, commit, and push again." ;;
    *) fail "The list of Python versions could not be read" "" \
      "$(tail -n 5 "$WORK_DIR/list.log" "$WORK_DIR/near")" "" \
      "The stack's own Python needs no list: it is $(versions_stack)." \
      "UV_PYTHON_DOWNLOADS_JSON_URL, if it is set, names the list." ;;
  esac
}
