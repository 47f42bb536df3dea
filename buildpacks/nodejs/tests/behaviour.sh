# Settings, order, caching, and what dynos see.

app() { cat >"$SOURCE/package.json"; }

if begin scripts; then
  seed
  app <<'END'
{ "engines": { "node": "24.x" }, "devDependencies": { "picocolors": "1.1.1" }, "scripts": {
  "heroku-prebuild": "echo prebuild >> order && test ! -e node_modules/picocolors",
  "build": "echo build >> order",
  "heroku-postbuild": "echo postbuild >> order && test -e node_modules/picocolors",
  "heroku-cleanup": "echo cleanup >> order && test ! -e node_modules/picocolors" } }
END
  build
  status_is 0
  says "No lock file found"
  check "the scripts run in order" \
    test "$(tr '\n' ' ' <"$VOLUME/work/build/order")" = "prebuild postbuild cleanup "
  says "This app may not specify any way to start a node process"
fi

if begin settings express-npm; then
  seed
  config NODE_ENV staging
  # Names that the buildpack might use itself must not confuse it.
  config MANAGER maven
  config WORK_DIR /etc
  config BUILDPACK_DIR /nowhere
  config SECRET_FOR_BUILD "two words"
  config PATH /nowhere
  echo 'require("fs").writeFileSync("built.json", JSON.stringify({
    manager: [process.env.MANAGER, process.env.SECRET_FOR_BUILD, process.env.NODE_ENV].join() }))' \
    >"$SOURCE/build.js"
  build
  status_is 0
  says "NODE_ENV=staging"
  says "Skipping because NODE_ENV is not 'production'"
  check "config vars reach the build" \
    grep -q 'maven,two words,staging' "$VOLUME/work/build/built.json"
fi

if begin production-install express-npm; then
  seed
  config NPM_CONFIG_PRODUCTION true
  echo 'require("fs").writeFileSync("built.json", "{}")' >"$SOURCE/build.js"
  build
  status_is 0
  says "Skipping because NPM_CONFIG_PRODUCTION is 'true'"
  check "devDependencies are left out" test ! -e "$VOLUME/work/build/node_modules/picocolors"
fi

if begin config-change express-npm; then
  seed
  build
  store
  config SOMETHING new
  build
  status_is 0
  says "Installing node modules"
  store
  build
  says "Dependencies have not changed"
fi

# Only where no script of the app's own is part of it can a build's outcome be used again.
if begin outcome tiny; then
  seed
  build
  status_is 0
  for path in package.json package-lock.json .npmrc; do reads "$path"; done
  check "its start is said elsewhere" \
    bash -c '! grep server.js "$1"' grep "$VOLUME/work/cache/.senryu-outcome"
  store
  sed -i 's/"start":/"build": "true", "start":/' "$SOURCE/package.json"
  build
  status_is 0
  runs_always
fi

# A dependency's install script may write beside node_modules; who takes that over has no such file.
if begin writes-elsewhere tiny; then
  seed
  mkdir "$SOURCE/dep"
  echo '{ "name": "dep", "version": "1.0.0", "scripts": { "install": "echo 1 >$INIT_CWD/made" } }' \
    >"$SOURCE/dep/package.json"
  (cd "$SOURCE/dep" && tar -czf ../dep.tgz --transform 's,^\.,package,' ./package.json)
  rm -r "$SOURCE/dep"
  sed -i 's/"scripts"/"dependencies": { "dep": "dep.tgz" }, "scripts"/' "$SOURCE/package.json"
  build
  status_is 0
  check "the install wrote it" test -f "$VOLUME/work/build/made"
  runs_always
  store
  build
  status_is 0
  check "and writes it again" test -f "$VOLUME/work/build/made"
fi

if begin cache-off express-npm; then
  seed
  config NODE_MODULES_CACHE false
  build
  store
  build
  status_is 0
  says "Caching has been disabled because NODE_MODULES_CACHE=false"
  says "Installing node modules"
fi

if begin plain-api express-npm; then
  seed
  KEEP=
  build
  status_is 0
  store
  OPTIONS=(--network none -e npm_config_fetch_retries=0)
  build
  status_is 0
  says "Dependencies have not changed"
  report "without the platform's help"
fi

# A build script that changes node_modules must not leave its changes out of the slug, nor in the
# tree that the next build starts from.
if begin build-writes express-npm; then
  seed
  cat >"$SOURCE/build.js" <<'END'
const fs = require("fs");
fs.writeFileSync("built.json", JSON.stringify({ manager: "npm" }));
fs.mkdirSync("node_modules/.generated", { recursive: true });
fs.writeFileSync("node_modules/.generated/client.js", fs.readFileSync("schema"));
END
  echo one >"$SOURCE/schema"
  build
  status_is 0
  store
  echo two >"$SOURCE/schema"
  build
  status_is 0
  check "the slug has what the build wrote" \
    grep -q two "$VOLUME/work/build/node_modules/.generated/client.js"
  check "devDependencies are pruned" test ! -e "$VOLUME/work/build/node_modules/picocolors"
  store
  build
  status_is 0
fi

# A failed build costs the next one nothing.
if begin after-failure express-npm; then
  seed
  build
  store
  echo 'process.exit(1)' >"$SOURCE/build.js"
  build
  status_is 1
  cp "$APPS/express-npm/build.js" "$SOURCE/build.js"
  OPTIONS=(--network none -e npm_config_fetch_retries=0)
  build
  status_is 0
  says "Dependencies have not changed"
fi

if begin damaged express-npm; then
  seed
  build
  store
  rm -rf "$VOLUME/work/cache/keep/node_modules/express"
  build
  status_is 0
  says "Installing node modules"
  check "what was missing is back" test -e "$VOLUME/work/build/node_modules/express/package.json"
fi

if begin checked-in; then
  seed
  app <<<'{"engines":{"node":"24.x"},"scripts":{"start":"node x"},"dependencies":{"ours":"*"}}'
  mkdir -p "$SOURCE/node_modules/ours"
  echo '{"name":"ours","version":"1.0.0"}' >"$SOURCE/node_modules/ours/package.json"
  build
  status_is 0
  says "Prebuild detected"
  check "it stays" test -e "$VOLUME/work/build/node_modules/ours/package.json"
fi

if begin npm-version; then
  seed
  app <<<'{"engines":{"node":"24.x","npm":"10.x"},"scripts":{"start":"node x"}}'
  build
  status_is 0
  says "Bootstrapping npm 10.x"
  check "npm is a 10" grep -q '"version": "10\.' \
    "$VOLUME/work/build/.heroku/node/lib/node_modules/npm/package.json"
fi

if begin berry; then
  seed
  app <<'END'
{ "name": "berry", "packageManager": "yarn@4.9.1", "engines": { "node": "24.x" },
  "scripts": { "start": "node x" }, "dependencies": { "ms": "2.1.3" },
  "devDependencies": { "picocolors": "1.1.1" } }
END
  echo 'nodeLinker: node-modules' >"$SOURCE/.yarnrc.yml"
  config YARN_ENABLE_IMMUTABLE_INSTALLS false
  build
  status_is 0
  says "Downloading and installing yarn (4.9.1)"
  check "the dependency is there" test -e "$VOLUME/work/build/node_modules/ms/package.json"
  check "devDependencies are pruned" test ! -e "$VOLUME/work/build/node_modules/picocolors"
fi

# Yarn 3 knows other settings than 4, and one that the app carries may be any.
if begin berry-3; then
  seed
  app <<'END'
{ "name": "berry", "packageManager": "yarn@3.8.7", "engines": { "node": "24.x" },
  "scripts": { "start": "yarn --version" }, "dependencies": { "ms": "2.1.3" } }
END
  echo 'nodeLinker: node-modules' >"$SOURCE/.yarnrc.yml"
  config YARN_ENABLE_IMMUTABLE_INSTALLS false
  build
  status_is 0
  check "the dependency is there" test -e "$VOLUME/work/build/node_modules/ms/package.json"

  mkdir -p "$SOURCE/.yarn/releases"
  cp "$VOLUME/work/build/.heroku/node/lib/node_modules/yarn/bin/yarn.js" \
    "$SOURCE/.yarn/releases/yarn-3.8.7.cjs"
  echo 'yarnPath: .yarn/releases/yarn-3.8.7.cjs' >>"$SOURCE/.yarnrc.yml"
  build
  status_is 0
  says "Using yarn from .yarn/releases/yarn-3.8.7.cjs"
  check "the dependency is there" test -e "$VOLUME/work/build/node_modules/ms/package.json"
  store
  echo 536870912 >"$VOLUME/limit"
  got=$(dyno 'yarn --version' | tail -n 1)
  [ "$got" = 3.8.7 ] && ok || bad "the dyno's yarn is $got"

  config YARN_PRODUCTION true
  rm -rf "$VOLUME/work/cache/keep/node_modules"
  build
  status_is 1
  says "Build failed: Yarn does not know a setting"
fi

# The lock file's format decides, and an old pnpm prunes too.
if begin pnpm-8; then
  seed
  app <<'END'
{ "name": "old", "packageManager": "pnpm@8.6.12", "engines": { "node": "24.x" },
  "scripts": { "start": "node x" }, "dependencies": { "ms": "2.1.3" },
  "devDependencies": { "picocolors": "1.1.1" } }
END
  integrity() {
    grep -A 4 "\"node_modules/$1\": {" "$APPS/express-npm/package-lock.json" \
      | grep -o 'sha512-[^"]*' | head -n 1
  }
  cat >"$SOURCE/pnpm-lock.yaml" <<END
lockfileVersion: '6.0'

dependencies:
  ms:
    specifier: 2.1.3
    version: 2.1.3

devDependencies:
  picocolors:
    specifier: 1.1.1
    version: 1.1.1

packages:

  /ms@2.1.3:
    resolution: {integrity: $(integrity ms)}
    dev: false

  /picocolors@1.1.1:
    resolution: {integrity: $(integrity picocolors)}
    dev: true
END
  build
  status_is 0
  check "the dependency is there" test -e "$VOLUME/work/build/node_modules/ms/package.json"
  check "devDependencies are pruned" test ! -e "$VOLUME/work/build/node_modules/picocolors"
fi

if begin test-compile express-npm; then
  seed
  STEP=test-compile
  build
  status_is 0
  check "devDependencies stay" test -e "$VOLUME/work/build/node_modules/picocolors"
fi

if begin mcp tiny; then
  seed
  echo 'mcp-tools: node server.js' >"$SOURCE/Procfile"
  build
  status_is 0
  check "no web process" test "$(cat "$VOLUME/work/result/release")" = "--- {}"
fi

if begin concurrency tiny; then
  seed
  build
  store
  while read -r bytes wanted; do
    echo "$bytes" >"$VOLUME/limit"
    got=$(dyno 'echo $MEMORY_AVAILABLE $WEB_MEMORY $WEB_CONCURRENCY $NODE_ENV')
    if [ "$got" = "$wanted" ]; then ok; else bad "$bytes: $got, not $wanted"; fi
  done <<'END'
536870912 512 512 1 production
1073741824 1024 512 2 production
2684354560 2560 512 5 production
15032385536 14336 512 28 production
32212254720 30720 2048 15 production
9223372036854771712 512 512 1 production
END
  echo 1073741824 >"$VOLUME/limit"
  got=$(dyno 'echo $WEB_CONCURRENCY' | tail -n 1)
  [ "$got" = 2 ] && ok || bad "WEB_CONCURRENCY is $got"
fi

# Without "engines" it is the newest long-term release, and it runs on the run image.
if begin default-version; then
  app <<<'{"scripts":{"start":"node --version"}}'
  build
  status_is 0
  says "engines.node (package.json):   unspecified"
  store
  echo 536870912 >"$VOLUME/limit"
  got=$(dyno 'npm start --silent')
  if [[ $got =~ ^v[0-9]+\. ]]; then ok; else bad "npm start said $got"; fi
fi
