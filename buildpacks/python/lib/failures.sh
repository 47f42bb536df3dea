# A failed install, told as what went wrong, why, and what to do.

failure_has() { grep -qE "$1" "$FAILED_LOG"; }

failure_explain() { # LOG
  FAILED_LOG=$1
  if failure_has 'lockfile.*needs to be updated|pyproject.toml changed significantly' \
    || failure_has 'Pipfile.lock.* out of date|lock file .*not compatible|poetry lock'; then
    fail "Build failed: $MANIFEST does not match the project's own file" "" \
      "A dependency was added, removed or changed, and the lock file was not brought up to date." \
      "Do so, commit both files, and push again: $MANAGER lock"
  elif failure_has 'fatal error: .*\.h|[a-z+]+: .*command not found|error: command .*(gcc|cc|g\+\+)' \
    || failure_has 'Failed (to build|building wheel)|build_wheel|metadata-generation-failed'; then
    fail "Build failed: a package could not be compiled" "" \
      "No wheel of it is published for Python $PYTHON_VERSION, so it was built from source, and" \
      "that failed (above). Often a newer version of it has a wheel. If a header file is missing," \
      "its library is not in the stack; or choose an older Python in .python-version."
  elif failure_has 'No matching distribution|from versions: none|not found in the package registry' \
    || failure_has 'there are no versions of|no version of|doesn.t match any versions'; then
    fail "Build failed: a package or its version does not exist" "" \
      "The index does not know it (above). Check its name and version; some versions are not for" \
      "Python $PYTHON_VERSION. A private one needs an index: config:set PIP_EXTRA_INDEX_URL=…"
  elif failure_has 'ResolutionImpossible|conflicting dependencies|unsatisfiable|version solving'; then
    fail "Build failed: conflicting dependencies" "" \
      "Two dependencies ask for versions of a third that cannot both be had; they are named" \
      "above. Change one of them."
  elif failure_has 'THESE PACKAGES DO NOT MATCH THE HASHES|[Hh]ash mismatch'; then
    fail "Build failed: a package is not what the lock file says" "" \
      "Its checksum differs. If that is no surprise, lock anew, look at the change, and push."
  elif failure_has 'requires-python|requires Python|Requires-Python|Python requirement' \
    || failure_has 'current Python version .* is not allowed|no interpreter found'; then
    fail "Build failed: the app does not accept Python $PYTHON_VERSION" "" \
      "Write one that it accepts into .python-version, commit, and push again."
  elif failure_has 'No space left'; then
    fail "Build failed: no space left" "" "The build's disk is full. Remove large files from the" \
      "source (.slugignore) or dependencies that are not needed."
  elif failure_has 'NewConnectionError|Name or service not known|timed out|Connection (refused|reset)' \
    || failure_has 'Failed to fetch|error sending request|ConnectionError'; then
    fail "Build failed: the package index could not be reached" "" \
      "The network failed, here or there. Push again; if it stays so, check that builds reach" \
      "the index (PIP_INDEX_URL)."
  fi
  fail "Build failed: \"${COMMAND[*]}\" did not succeed" "" \
    "Its output is above. Try the same command in a fresh clone; what fails there fails here."
}
