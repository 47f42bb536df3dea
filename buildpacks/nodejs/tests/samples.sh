# Every sample app: cold, then with nothing changed, then running.

# SAMPLE MANAGER START TEXT
sample() {
  begin "sample-$1" "$1" || return 0
  [ "$1" = tiny ] || seed
  build
  status_is 0
  report cold
  says "-----> Build succeeded!"
  check "detect prints the language" grep -qx Node.js "$VOLUME/work/result/detected"
  check "release offers npm start" grep -qx '  web: npm start' "$VOLUME/work/result/release"
  store
  if [ "$1" = tiny ]; then
    mkdir -p "$ROOT/seed"
    cp -al "$VOLUME/work/cache/." "$ROOT/seed/"
  fi
  check "devDependencies are pruned" test ! -e "$VOLUME/slug/node_modules/picocolors"
  check "no headers in the slug" test ! -e "$VOLUME/slug/.heroku/node/include"
  answers "$3" "$4"

  local before
  before=$(inodes "$VOLUME/work/cache/keep" .heroku/node node_modules)
  # With nothing changed no registry is needed either.
  [ "$1" = native-module ] || OPTIONS=(--network none)
  build
  status_is 0
  report warm
  if [ "$1" != native-module ]; then
    [ "$before" = "$(inodes "$VOLUME/work/build" .heroku/node node_modules)" ] && ok || bad "a rebuild touched kept files"
  fi
  store
  answers "$3" "$4"
}

sample tiny npm "npm start" "v7 web.1"
sample sample npm "node web.js" "<dd>web.1</dd>"
sample express-npm npm "npm start" "npm v7 web.1"
sample express-yarn yarn "yarn start" "yarn v7 web.1"
sample express-pnpm pnpm "pnpm start" "pnpm v7 web.1"
sample native-module npm "node index.js" "42 v7"

no_buildpack() {
  begin sample-no-buildpack no-buildpack || return 0
  build
  status_is 99
}
no_buildpack
