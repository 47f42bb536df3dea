# Says in CACHE_DIR/.senryu-outcome what decided about this build. While that stays as it is, the
# platform uses what was built again and does not ask this buildpack, but once a day, for newer
# versions. Nothing is said where more decides than files that can be named, such as an app's own
# scripts, or where users should be told something at each build.

OUTCOME=yes

outcome_is_of_this_build() { OUTCOME=no; }

outcome_can_be_used_again() {
  local script
  [ "$OUTCOME" = yes ] && [ -z "${SENRYU_NODE_MODE:-}" ] || return 1
  for script in heroku-prebuild heroku-postbuild build heroku-cleanup; do
    ! has_script "$script" || return 1
  done
  [ "$MANAGER" != berry ] && [ -z "$CACHE_DIRECTORIES" ] && dependencies_may_skip
}

outcome_declare() {
  local path
  outcome_can_be_used_again || return 0
  {
    # The last ones must not be there: directories, or what is built from the source.
    printf 'reads %s\n' package.json package-lock.json npm-shrinkwrap.json yarn.lock \
      pnpm-lock.yaml .npmrc .yarnrc .yarnrc.yml .yarnclean pnpm-workspace.yaml \
      .pnpmfile.cjs .pnpmfile.mjs binding.gyp patches .yarn
    [ -d node_modules ] || echo 'reads node_modules'
    # Whether there is one is told where nothing else says how the app starts.
    [ -f Procfile ] || [ -n "$START_SCRIPT" ] || echo 'reads server.js'
    for path in "$BUILDPACK_DIR"/profile/*.sh; do
      printf 'writes .profile.d/%s\n' "${path##*/}"
    done
  } >"$CACHE_DIR/.senryu-outcome"
}
