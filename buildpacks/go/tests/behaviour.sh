# Which packages, with what settings, from where.

program() { # FOLDER TEXT
  mkdir -p "$SOURCE/$1"
  printf 'package main\n\nvar version = "none"\n\nfunc main() { println("%s " + version) }\n' "$2" \
    >"$SOURCE/$1/main.go"
}

if begin several-packages; then
  seed
  printf 'module example.com/several\n\ngo 1.25.0\n' >"$SOURCE/go.mod"
  program cmd/one one
  program cmd/two two
  OPTIONS=(--network none)
  build
  status_is 0
  check "both are there" test -x "$VOLUME/work/build/bin/one" -a -x "$VOLUME/work/build/bin/two"
  check "no Procfile is guessed" test ! -e "$VOLUME/work/build/Procfile"
  store
  config GO_INSTALL_PACKAGE_SPEC ./cmd/two
  config GO_LINKER_SYMBOL main.version
  config GO_LINKER_VALUE v1.2
  build
  status_is 0
  says "Running: go install -v -tags heroku -ldflags -X main.version=v1.2 ./cmd/two"
  check "only the wanted one is there" test ! -e "$VOLUME/work/build/bin/one"
  check "a Procfile is made" grep -qx 'web: bin/two' "$VOLUME/work/build/Procfile"
  store
  [[ $(dyno two) == *"two v1.2"* ]] && ok || bad "the linker's value is not in the program"
fi

if begin heroku-comments; then
  seed
  printf 'module example.com/c\n\n// +heroku goVersion go1.25.0\n// +heroku install ./cmd/two\n' \
    >"$SOURCE/go.mod"
  printf '\ngo 1.24\n' >>"$SOURCE/go.mod"
  program cmd/one one
  program cmd/two two
  mkdir -p "$SOURCE/bin"
  printf '#!/bin/sh\necho "before $(go version | cut -d" " -f3)"\n' >"$SOURCE/bin/go-pre-compile"
  printf '#!/bin/sh\nls bin\n' >"$SOURCE/bin/go-post-compile"
  OPTIONS=(--network none)
  build
  status_is 0
  says "Using go1.25.0 specified in go.mod (+heroku goVersion)"
  says "before go1.25.0"
  says "Running bin/go-post-compile hook"
  check "only the named one is there" test ! -e "$VOLUME/work/build/bin/one"
fi

if begin vendored; then
  seed
  hello
  # What "go mod vendor" makes, without the network: from the modules of the first test.
  mkdir -p "$SOURCE/vendor/github.com/pkg"
  cp -r "$VOLUME/work/cache/go/modules/github.com/pkg/errors@v0.9.1" \
    "$SOURCE/vendor/github.com/pkg/errors"
  printf '%s\n' '# github.com/pkg/errors v0.9.1' '## explicit' 'github.com/pkg/errors' \
    >"$SOURCE/vendor/modules.txt"
  rm -rf "$VOLUME/work/cache/go/modules/github.com" "$VOLUME/work/cache/go/modules/cache/download"
  OPTIONS=(--network none)
  build
  status_is 0
  says "Dependencies come from vendor/"
  store
  [[ $(dyno hello) == *"go v7"* ]] && ok || bad "the program does not run"
fi
