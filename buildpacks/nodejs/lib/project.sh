# What the app is: its package.json, its lock file, and so its package manager.

MANAGER=        # npm, yarn, berry (yarn 2 and later) or pnpm
LOCK_FILE=      # empty without one
YARN_PATH=      # a yarn that the app carries with it (.yarnrc.yml, yarnPath)

project_read() {
  local assignments
  if ! assignments=$(jq -r -f "$BUILDPACK_DIR/lib/project.jq" package.json 2>"$WORK_DIR/jq"); then
    fail "Unable to parse package.json" "" \
      "$(sed -e 's/^jq: //' -e 's/^error (at [^)]*): //' -e 's/^parse error: //' \
        "$WORK_DIR/jq")" "" \
      "package.json must be valid JSON: no comments, no trailing commas. Repair it, commit," \
      "and push again."
  fi
  [ -n "$assignments" ] || fail "Unable to parse package.json" "" "The file is empty." "" \
    "Write at least {} into it, or run \"npm init\"."
  eval "$assignments"
}

has_script() { [[ $'\n'$SCRIPT_NAMES$'\n' == *$'\n'"$1"$'\n'* ]]; }

project_choose_manager() {
  local found=()
  [ ! -f package-lock.json ] && [ ! -f npm-shrinkwrap.json ] || found+=(npm)
  [ ! -f yarn.lock ] || found+=(yarn)
  [ ! -f pnpm-lock.yaml ] || found+=(pnpm)
  if [ ${#found[@]} -gt 1 ]; then
    project_fail_lock_files "${found[@]}"
  fi

  local asked=${PACKAGE_MANAGER%%@*}
  if [ ${#found[@]} = 1 ]; then
    MANAGER=${found[0]}
    case "$asked" in
      npm | yarn | pnpm)
        [ "$asked" = "$MANAGER" ] || warning \
          "package.json asks for $asked, but the lock file is $MANAGER's" \
          "The lock file decides. Remove it, or change \"packageManager\"." ""
        ;;
    esac
  else
    case "$asked" in
      npm | yarn | pnpm) MANAGER=$asked ;;
      *) MANAGER=npm ;;
    esac
  fi
  case "$MANAGER" in
    npm) LOCK_FILE=package-lock.json
      [ ! -f npm-shrinkwrap.json ] || LOCK_FILE=npm-shrinkwrap.json ;;
    yarn) LOCK_FILE=yarn.lock; project_look_for_berry ;;
    pnpm) LOCK_FILE=pnpm-lock.yaml ;;
  esac
  [ -f "$LOCK_FILE" ] || LOCK_FILE=
}

project_fail_lock_files() {
  local names=() manager
  for manager in "$@"; do
    case "$manager" in
      npm) [ ! -f npm-shrinkwrap.json ] || names+=(npm-shrinkwrap.json)
        [ ! -f package-lock.json ] || names+=(package-lock.json) ;;
      yarn) names+=(yarn.lock) ;;
      pnpm) names+=(pnpm-lock.yaml) ;;
    esac
  done
  local list
  printf -v list '%s, ' "${names[@]}"
  fail "Build failed: several lock files found: ${list%, }" "" \
    "Each belongs to another package manager, and they can disagree about the versions that" \
    "your app gets. Keep the one of the package manager that you use, and remove the other:" "" \
    "  git rm ${names[-1]}" \
    "  git commit -m \"Keep one lock file\""
}

# Yarn 2 and later differ from Yarn 1 in nearly every option.
project_look_for_berry() {
  local line
  if [ -f .yarnrc.yml ]; then
    while IFS= read -r line || [ -n "$line" ]; do
      if [[ $line =~ ^yarnPath:[[:space:]]*[\"\']?([^\"\'#]+) ]]; then
        YARN_PATH=${BASH_REMATCH[1]%"${BASH_REMATCH[1]##*[![:space:]]}"}
      fi
    done <.yarnrc.yml
  fi
  if [ -n "$YARN_PATH" ] && [ ! -f "$YARN_PATH" ]; then
    fail "Yarn is not where .yarnrc.yml says" "" "yarnPath names $YARN_PATH, which is not in" \
      "the repository. Add it to git (\"git add -f $YARN_PATH\"), or remove the setting."
  fi
  if [ -n "$YARN_PATH" ] || [[ $PACKAGE_MANAGER =~ ^yarn@[2-9] ]] \
    || { [ -f yarn.lock ] && grep -q '^__metadata:' yarn.lock; }; then
    MANAGER=berry
  fi
}

project_warn_about_start() {
  [ ! -f Procfile ] && [ -z "$START_SCRIPT" ] && [ ! -f server.js ] || return 0
  warning "This app may not specify any way to start a node process" "" \
    "Add a Procfile (web: node index.js), or a \"start\" script to package.json." ""
}
