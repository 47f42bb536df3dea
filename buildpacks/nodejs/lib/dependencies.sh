# The app's dependencies: installed when something that decides about them has changed, pruned
# after the build script, and otherwise taken over as they are.

FINGERPRINT=
PREBUILT=no     # node_modules came with the source
WRITES_ELSEWHERE=no # an install writes into the source too: the next build installs again
SWAPPED=no      # node_modules is the full tree, the pruned one waits in WORK_DIR
FULL_DIR=$CACHE_DIR/node/full

# --- fingerprints ------------------------------------------------------------------------------

# Everything that an installed tree depends on. Config vars are part of it, since install scripts
# may read any of them.
dependencies_fingerprint() {
  local files=() file
  for file in package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml .npmrc .yarnrc \
    .yarnrc.yml .yarnclean pnpm-workspace.yaml .pnpmfile.cjs .pnpmfile.mjs; do
    [ ! -f "$file" ] || files+=("$file")
  done
  for file in patches .yarn/patches .yarn/plugins; do
    [ ! -d "$file" ] || while IFS= read -r file; do files+=("$file"); done \
      < <(find "$file" -type f | sort)
  done
  {
    printf '%s\n' "format 1" "${STACK:-}" "$NODE_VERSION" "$MANAGER $MANAGER_VERSION" \
      "${SENRYU_NODE_MODE:-}" "$DEPENDENCY_TEXT" "${CONFIG[@]}" "${files[@]}"
    [ ${#files[@]} = 0 ] || cat -- "${files[@]}"
  } | sha256sum | cut -c1-64
}

# A cheap look at whether a tree is whole: the names of its first two levels.
dependencies_listing() { # DIRECTORY
  (cd "$1" && find . -mindepth 1 -maxdepth 2 ! -path './.cache*' ! -name .senryu-fingerprint \
    ! -name '.senryu-new' -print | LC_ALL=C sort | sha256sum | cut -c1-64)
}

dependencies_stamp() { # DIRECTORY KIND
  [ -d "$1" ] && [ "$PREBUILT$WRITES_ELSEWHERE" = nono ] || return 0
  printf '%s\n' "$FINGERPRINT" "$(dependencies_listing "$1")" "$2" >"$1/.senryu-new"
  mv "$1/.senryu-new" "$1/.senryu-fingerprint"
}

# DIRECTORY: prints the kind (full, pruned) of a tree that this very install would make.
dependencies_kind() {
  local fingerprint= listing= kind=
  [ -f "$1/.senryu-fingerprint" ] || return 0
  { IFS= read -r fingerprint; IFS= read -r listing; IFS= read -r kind; } \
    <"$1/.senryu-fingerprint" || true
  [ "$fingerprint" = "$FINGERPRINT" ] || return 0
  [ "$listing" = "$(dependencies_listing "$1")" ] || return 0
  printf '%s' "$kind"
}

# Trees of these apps depend on more than the fingerprint covers: on other folders of the source,
# or on what install scripts do: the app's own, that of Prisma's client, which reads the schema, and
# Puppeteer's, which reads where the browser is to be.
dependencies_may_skip() {
  [ "$NODE_MODULES_CACHE" = true ] && [ "$HAS_LIFECYCLE" = false ] \
    && [ "$HAS_LOCAL_DEPENDENCIES" = false ] && [ "$HAS_WORKSPACES" = false ] \
    && [ ! -f binding.gyp ] && [ "$PREBUILT" = no ] \
    && ! grep -qs '^packages:' pnpm-workspace.yaml \
    && ! grep -qsE '(file|link):' pnpm-workspace.yaml \
    && [[ ! $DEPENDENCY_TEXT =~ @prisma/client|\"puppeteer ]]
}

# Whether the install wrote into the source: a build that took node_modules over would lack that.
dependencies_wrote_elsewhere() {
  [ -n "$(find . -mindepth 1 \( -name node_modules -o -path ./.heroku -o -path ./.yarn \) -prune \
    -o -cnewer "$WORK_DIR/begun" ! -type d ! -name package-lock.json ! -name yarn.lock \
    ! -name pnpm-lock.yaml ! -name '.pnp.*' -print -quit)" ]
}

# Whether anything in node_modules is newer than the end of the install.
dependencies_changed() {
  [ ! -f "$WORK_DIR/installed" ] || [ -n "$(find "$BUILD_DIR/node_modules" -mindepth 1 \
    -cnewer "$WORK_DIR/installed" ! -path "$BUILD_DIR/node_modules/.cache*" \
    ! -name .senryu-fingerprint -print -quit)" ]
}

# --- install -----------------------------------------------------------------------------------

dependencies_install() {
  [ ! -d node_modules ] || [ -f node_modules/.senryu-fingerprint ] || PREBUILT=yes
  FINGERPRINT=$(dependencies_fingerprint)
  if dependencies_may_skip && dependencies_reuse; then
    if [ -d node_modules ]; then
      detail "Dependencies have not changed since the last build"
    else
      detail "package.json names no dependencies"
    fi
    touch "$WORK_DIR/installed"
    return 0
  fi
  if [ "$PREBUILT" = no ]; then
    rm -rf node_modules "$FULL_DIR"
  fi
  [ -n "$LOCK_FILE" ] || [ "$HAS_DEPENDENCIES$HAS_DEV_DEPENDENCIES" = falsefalse ] \
    || warning \
    "No lock file found" "Without one, every build may get other versions. Run" \
    "\"$(dependencies_tool) install\" and commit the lock file." ""
  touch "$WORK_DIR/begun"
  case "$MANAGER" in
    npm) dependencies_install_npm ;;
    yarn) dependencies_install_yarn ;;
    berry) dependencies_install_berry ;;
    pnpm) dependencies_install_pnpm ;;
  esac
  if dependencies_may_skip && dependencies_wrote_elsewhere; then
    WRITES_ELSEWHERE=yes
    outcome_is_of_this_build
  fi
  dependencies_stamp node_modules full
  touch "$WORK_DIR/installed"
}

dependencies_tool() { if [ "$MANAGER" = berry ]; then echo yarn; else echo "$MANAGER"; fi; }

# Takes over the restored tree if it is the right one; the full tree where a build script needs
# devDependencies that the pruned one lacks.
dependencies_reuse() {
  if [ ! -d node_modules ]; then
    # An app without any dependency has no node_modules and nothing to install.
    [ "$HAS_DEPENDENCIES$HAS_DEV_DEPENDENCIES" = falsefalse ]
    return
  fi
  case "$(dependencies_kind node_modules)" in
    full) return 0 ;;
    pruned)
      [ -n "$(scripts_build_name)" ] || return 0
      [ "$(dependencies_kind "$FULL_DIR")" = full ] || return 1
      mv node_modules "$WORK_DIR/pruned"
      mv "$FULL_DIR" node_modules
      SWAPPED=yes
      ;;
    *) return 1 ;;
  esac
}

# COMMAND...: runs an installing command; its failure ends the build with an explanation.
dependencies_run() {
  local arguments=("$@")
  if [ "$1" = env ]; then
    arguments=("${@:2}")
    while [[ ${arguments[0]} == *=* ]]; do arguments=("${arguments[@]:1}"); done
  fi
  run_logged "$WORK_DIR/install.log" "$@" \
    || failure_explain "$WORK_DIR/install.log" "${arguments[*]}"
}

dependencies_install_npm() {
  local dev=(--include=dev) production=${NPM_CONFIG_PRODUCTION:-false}
  local major=${MANAGER_VERSION%%.*}
  [ "$production" != true ] || dev=(--omit=dev)
  [ "$major" -ge 7 ] || dev=(--production="$production")
  if [ "$PREBUILT" = yes ]; then
    detail "Prebuild detected (node_modules already exists)" \
      "Rebuilding any native modules"
    dependencies_run npm rebuild
    detail "Installing any new modules (package.json)"
    dependencies_run npm install "${dev[@]}"
  elif [ -n "$LOCK_FILE" ] && [ "${USE_NPM_INSTALL:-false}" != true ]; then
    detail "Installing node modules"
    dependencies_run npm ci "${dev[@]}"
  else
    detail "Installing node modules (package.json${LOCK_FILE:+ + $LOCK_FILE})"
    dependencies_run npm install "${dev[@]}"
  fi
}

# Yarn has a registry address of its own; both yarns are given npm's, unless the app sets one.
dependencies_registry() {
  with_config npm config get registry 2>/dev/null || true
}

dependencies_install_yarn() {
  local options=(--ignore-engines --prefer-offline --non-interactive)
  [ -z "$LOCK_FILE" ] || options+=(--frozen-lockfile)
  if ! grep -qsE '^registry' .npmrc .yarnrc && [ -z "${YARN_REGISTRY:-}" ]; then
    YARN_REGISTRY=$(dependencies_registry)
    export YARN_REGISTRY
  fi
  detail "Installing node modules (yarn.lock)"
  dependencies_run yarn install "${options[@]}" --production="${YARN_PRODUCTION:-false}"
}

dependencies_install_berry() {
  local options=()
  [ -z "$LOCK_FILE" ] || options+=(--immutable)
  unset YARN_CACHE_FOLDER
  export YARN_ENABLE_TELEMETRY=0 YARN_ENABLE_PROGRESS_BARS=false YARN_ENABLE_COLORS=false
  if ! grep -qsE '^npmRegistryServer' .yarnrc.yml && [ -z "${YARN_NPM_REGISTRY_SERVER:-}" ]; then
    YARN_NPM_REGISTRY_SERVER=$(dependencies_registry)
    export YARN_NPM_REGISTRY_SERVER
  fi
  # Each Yarn refuses settings that it does not know. 2 has NODE_EXTRA_CA_CERTS alone.
  if [ -n "${npm_config_cafile:-}" ]; then
    case "$BERRY_MAJOR" in
      2) ;;
      3) export YARN_CA_FILE_PATH=$npm_config_cafile ;;
      *) export YARN_HTTPS_CA_FILE_PATH=$npm_config_cafile ;;
    esac
  fi
  if grep -qsE '^nodeLinker:[[:space:]]*["'\'']?(node-modules|pnpm)' .yarnrc.yml; then
    export YARN_ENABLE_GLOBAL_CACHE=true YARN_GLOBAL_FOLDER=$CACHE_DIR/node/yarn-berry
  else
    # Plug'n'Play loads packages from the archives themselves, so the slug must hold them.
    export YARN_ENABLE_GLOBAL_CACHE=false
  fi
  detail "Running 'yarn install' with yarn.lock"
  dependencies_run yarn install "${options[@]}"
}

dependencies_install_pnpm() {
  local options=(--prod=false)
  if [ -n "$LOCK_FILE" ]; then
    options+=(--frozen-lockfile)
  else
    options+=(--no-frozen-lockfile)
  fi
  detail "Running 'pnpm install' with ${LOCK_FILE:-package.json}"
  dependencies_run env CI=true pnpm install "${options[@]}"
}

# --- prune -------------------------------------------------------------------------------------

dependencies_prune_skipped() {
  [ "${SENRYU_NODE_MODE:-}" != test ] || return 0
  if [ "$NODE_ENV" != production ]; then
    SKIP_REASON="NODE_ENV is not 'production'"
  elif [ "$MANAGER" = npm ] && [ -n "${NPM_CONFIG_PRODUCTION:-}" ]; then
    SKIP_REASON="NPM_CONFIG_PRODUCTION is '$NPM_CONFIG_PRODUCTION'"
  elif [ "$MANAGER" = yarn ] && [ -n "${YARN_PRODUCTION:-}" ]; then
    SKIP_REASON="YARN_PRODUCTION is '$YARN_PRODUCTION'"
  elif [ "$MANAGER" = berry ] && [ "${YARN2_SKIP_PRUNING:-}" = true ]; then
    SKIP_REASON="YARN2_SKIP_PRUNING is 'true'"
  elif [ "$MANAGER" = pnpm ] && [ "${PNPM_SKIP_PRUNING:-}" = true ]; then
    SKIP_REASON="PNPM_SKIP_PRUNING is 'true'"
  else
    return 1
  fi
}

dependencies_prune() {
  SKIP_REASON=
  [ "$HAS_DEV_DEPENDENCIES$HAS_WORKSPACES" != falsefalse ] || return 0
  headline "Pruning devDependencies"
  if dependencies_prune_skipped; then
    detail "Skipping because ${SKIP_REASON:-tests need them}"
    return 0
  fi
  if [ "$SWAPPED" = yes ] && ! dependencies_changed; then
    dependencies_undo_swap
    detail "Nothing has changed since the last build"
    return 0
  fi
  if [ "$(dependencies_kind node_modules)" = pruned ]; then
    detail "Nothing has changed since the last build"
    return 0
  fi
  rm -rf "$WORK_DIR/pruned" "$FULL_DIR"
  SWAPPED=no
  if [ -d node_modules ] && [ -n "$(scripts_build_name)" ] && dependencies_may_skip; then
    cache_copy node_modules "$FULL_DIR"
  fi
  dependencies_prune_now
  dependencies_stamp node_modules pruned
}

dependencies_prune_now() {
  case "$MANAGER" in
    npm)
      if [ "${MANAGER_VERSION%%.*}" -ge 7 ]; then
        dependencies_run npm prune --omit=dev --ignore-scripts
      else
        dependencies_run npm prune --production
      fi
      ;;
    yarn)
      dependencies_run yarn install --frozen-lockfile --ignore-engines --ignore-scripts \
        --prefer-offline --non-interactive --production=true
      ;;
    berry)
      run_logged "$WORK_DIR/prune.log" yarn workspaces focus --all --production || warning \
        "devDependencies stay in the slug" \
        "This yarn cannot prune. Yarn 4 can; Yarn 2 and 3 need the plugin \"workspace-tools\"."
      ;;
    # As a flag pnpm 7 does not know it, and 11 reads its settings by the second name only.
    pnpm)
      dependencies_run env CI=true npm_config_ignore_scripts=true \
        pnpm_config_ignore_scripts=true pnpm prune --prod
      ;;
  esac
}

# Puts the full tree back into the cache and the pruned one into its place.
dependencies_undo_swap() {
  [ "$SWAPPED" = yes ] && [ -d "$WORK_DIR/pruned" ] || return 0
  if dependencies_changed; then
    rm -rf "$BUILD_DIR/node_modules"
  else
    mv "$BUILD_DIR/node_modules" "$FULL_DIR"
  fi
  mv "$WORK_DIR/pruned" "$BUILD_DIR/node_modules"
  SWAPPED=no
}
