# A small app with one dependency: cold, with nothing changed and no network, then running. It
# imports little, since the standard library is compiled for it too.

hello() {
  printf 'module example.com/hello\n\ngo 1.25.0\n\nrequire github.com/pkg/errors v0.9.1\n' \
    >"$SOURCE/go.mod"
  printf 'github.com/pkg/errors v0.9.1%s\n' \
    ' h1:FEBLx1zS214owpjy7qsBeixbURkuhQAwrK5UwLGTwt4=' \
    '/go.mod h1:bwawxfHBFNV+L2hUp1rHADufV3IMtnDRdf1r5NINEl0=' >"$SOURCE/go.sum"
  cat >"$SOURCE/main.go" <<'GO'
package main

import (
	"os"

	"github.com/pkg/errors"
)

func main() {
	print(errors.New("go " + os.Getenv("HEROKU_RELEASE_VERSION") + "\n").Error())
}
GO
}

if begin sample; then
  hello
  build
  status_is 0
  report cold
  remember
  check "detect prints the language" grep -qx Go "$VOLUME/work/result/detected"
  says "Installing go1.25.0 specified in go.mod (go)"
  says "  ./bin/hello"
  check "a Procfile is made" grep -qx 'web: bin/hello' "$VOLUME/work/build/Procfile"
  before=$(sha256sum "$VOLUME/work/build/bin/hello" | cut -c1-64)
  store
  [[ $(dyno hello) == *"go v7"* ]] && ok || bad "the program does not run"
  check "no toolchain in the slug" test ! -e "$VOLUME/slug/.heroku/go"
  OPTIONS=(--network none)
  build
  status_is 0
  report warm
  says "Using go1.25.0"
  after=$(sha256sum "$VOLUME/work/build/bin/hello" | cut -c1-64)
  [ "$before" = "$after" ] && ok || bad "the same source made another program"
fi
