# Each failure says what is wrong and what to do, and ends with status 1.

# NAME [SAMPLE]: a build that must fail; what follows changes SOURCE first.
failing() {
  begin "failure-$1" "${2:-}" || return 1
  seed
}
fails() { # TEXT...
  build
  status_is 1
  says_not "Build succeeded"
  local text
  for text in "$@"; do says "$text"; done
}

if failing script failing-build; then
  fails 'the script "build" of package.json did not succeed' 'error TS2304' 'npm run build'
fi
if failing json; then
  printf '{ "name": "x",\n }' >"$SOURCE/package.json"
  fails "Unable to parse package.json" "line 2" "no trailing commas"
fi
if failing empty; then
  : >"$SOURCE/package.json"
  fails "Unable to parse package.json" "The file is empty"
fi
if failing array; then
  echo '["no object"]' >"$SOURCE/package.json"
  fails "Unable to parse package.json" "does not hold an object"
fi
if failing version; then
  echo '{"engines":{"node":"24.999.x"}}' >"$SOURCE/package.json"
  fails "Unknown version of node: 24.999.x" "the newest is"
fi
if failing range; then
  echo '{"engines":{"node":"twenty"}}' >"$SOURCE/package.json"
  fails "Invalid version of node in package.json: twenty" '"24.x"'
fi
if failing npm-version; then
  echo '{"engines":{"node":"24.x","npm":"10.999.0"}}' >"$SOURCE/package.json"
  fails "Unknown version of npm: 10.999.0"
fi
if failing lock-files express-npm; then
  : >"$SOURCE/yarn.lock"
  fails "several lock files found: package-lock.json, yarn.lock" "git rm yarn.lock"
fi
for manager in npm yarn pnpm; do
  if failing "stale-$manager" "express-$manager"; then
    sed -i 's/"express": "[^"]*"/"express": "^5.1.0", "left-pad": "1.3.0"/' "$SOURCE/package.json"
    fails "does not match package.json" "$manager install"
  fi
done
if failing missing; then
  echo '{"engines":{"node":"24.x"},"dependencies":{"express":"999.0.0"}}' >"$SOURCE/package.json"
  fails "a package or its version does not exist"
fi
if failing compiler native-module; then
  echo '#include <no_such_header.h>' >"$SOURCE/fastsum/src/fastsum.c"
  fails "a native module could not be compiled" "no_such_header.h"
fi
if failing offline express-npm; then
  OPTIONS=(--network none -e npm_config_fetch_retries=0)
  fails "the registry could not be reached"
fi
if failing yarn-path; then
  echo '{"engines":{"node":"24.x"}}' >"$SOURCE/package.json"
  echo '__metadata:' >"$SOURCE/yarn.lock"
  echo 'yarnPath: .yarn/releases/yarn.cjs' >"$SOURCE/.yarnrc.yml"
  fails "Yarn is not where .yarnrc.yml says"
fi
