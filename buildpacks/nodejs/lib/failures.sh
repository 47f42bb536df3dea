# A failed command, told as what went wrong, why, and what to do.

failure_has() { grep -qE "$1" "$FAILED_LOG"; }

failure_explain() { # LOG COMMAND
  FAILED_LOG=$1
  local tool
  tool=$(dependencies_tool)
  if failure_has 'npm ci.*can only install|package.json and .*lock.* are in sync' \
    || failure_has 'frozen.lockfile|lockfile needs to be updated|YN0028' \
    || failure_has 'ERR_PNPM_OUTDATED_LOCKFILE|LOCKFILE_CONFIG_MISMATCH'; then
    fail "Build failed: ${LOCK_FILE:-the lock file} does not match package.json" "" \
      "A dependency was added, removed or changed in package.json, and the lock file was not" \
      "brought up to date with it. Do so, commit both files, and push again:" "" \
      "  $tool install" \
      "  git add package.json $LOCK_FILE" \
      "  git commit -m \"Update $LOCK_FILE\""
  elif failure_has 'gyp ERR|node-gyp|make: \*\*\*|fatal error: .*\.h'; then
    fail "Build failed: a native module could not be compiled" "" \
      "The compiler's own words are above. Often the module does not know this version of" \
      "Node.js ($NODE_VERSION) yet: update the module, or choose an older one under" \
      "\"engines\" in package.json. If a header file is missing, its library is not in the stack."
  elif failure_has 'heap out of memory|Allocation failed'; then
    fail "Build failed: out of memory" "" \
      "Node.js needed more memory than it may use (NODE_OPTIONS: $NODE_OPTIONS)." \
      "Build less at once, or raise the limit: config:set NODE_OPTIONS=--max_old_space_size=4096"
  elif failure_has 'ENOSPC|No space left'; then
    fail "Build failed: no space left" "" "The build's disk is full. Remove large files from the" \
      "source (.slugignore) or dependencies that are not needed."
  elif failure_has 'ERESOLVE'; then
    fail "Build failed: conflicting dependencies" "" \
      "Two dependencies ask for versions of a third that cannot both be had. npm names them" \
      "above. Update one of them, or set NPM_CONFIG_LEGACY_PEER_DEPS=true."
  elif failure_has 'EINTEGRITY|Integrity check failed|YN0018|ERR_PNPM_TARBALL_INTEGRITY'; then
    fail "Build failed: a package is not what the lock file says" "" \
      "Its checksum differs. If that is no surprise, remove ${LOCK_FILE:-the lock file}, run" \
      "\"$tool install\", look at the change, commit, and push again."
  elif failure_has 'code E404|404 Not Found|ETARGET|Couldn.t find (any versions|package)' \
    || failure_has 'YN0027|YN0082|YN0035|ERR_PNPM_FETCH_404|ERR_PNPM_NO_MATCHING_VERSION'; then
    fail "Build failed: a package or its version does not exist" "" \
      "The registry does not know it (above). Check its name and version in package.json; for" \
      "a private one, the build needs a registry setting and a token (.npmrc, NPM_CONFIG_*)."
  elif failure_has 'E401|E403|Unauthorized|authentication'; then
    fail "Build failed: the registry refused access" "" \
      "A private package needs a token: put \${NPM_TOKEN} into .npmrc and set it as a config var."
  elif failure_has 'ENOTFOUND|ETIMEDOUT|ECONNRESET|ECONNREFUSED|EAI_AGAIN|RequestError'; then
    fail "Build failed: the registry could not be reached" "" \
      "The network failed, here or there. Push again; if it stays so, check that builds reach" \
      "the registry (NPM_CONFIG_REGISTRY)."
  elif failure_has 'Unrecognized or legacy configuration settings found'; then
    fail "Build failed: Yarn does not know a setting" "" \
      "Yarn 2 and later take every variable that begins with YARN_ for a setting, and refuse" \
      "others (above, without YARN_). Remove that config var, such as YARN_PRODUCTION, which is" \
      "of Yarn 1:" "" "  senryu config:unset YARN_PRODUCTION"
  elif failure_has 'engine .*incompatible|EBADENGINE|ERR_PNPM_UNSUPPORTED_ENGINE'; then
    fail "Build failed: a dependency refuses this version of Node.js ($NODE_VERSION)" "" \
      "Choose one that it accepts under \"engines\" in package.json, or update the dependency."
  fi
  fail "Build failed: \"$2\" did not succeed" "" \
    "Its output is above. Try the same command in a fresh clone; what fails there fails here."
}

failure_script() { # NAME LOG
  FAILED_LOG=$2
  if failure_has 'heap out of memory|Allocation failed'; then
    failure_explain "$2" "$1"
  fi
  local hint="Try \"$(dependencies_tool) run $1\" in a fresh clone; what fails there fails here."
  if failure_has 'not found|Cannot find module|MODULE_NOT_FOUND'; then
    hint="A command or module was not found: is it in package.json and in the lock file?"
  fi
  fail "Build failed: the script \"$1\" of package.json did not succeed" "" \
    "Its output is above. $hint"
}
