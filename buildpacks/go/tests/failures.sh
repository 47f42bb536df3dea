# What can go wrong, and whether the user is told what to do.

if begin failure-compile; then
  seed
  hello
  echo 'package main; func broken() int { return "text" }' >"$SOURCE/broken.go"
  OPTIONS=(--network none)
  build
  status_is 1
  says "broken.go:1:"
  says "Build failed: the compiler refused the app"
fi

if begin failure-go-sum; then
  seed
  hello
  rm "$SOURCE/go.sum"
  OPTIONS=(--network none)
  build
  status_is 1
  says "Build failed: go.mod or go.sum is not up to date"
fi

if begin failure-vendor; then
  seed
  hello
  mkdir "$SOURCE/vendor"
  echo '# github.com/pkg/errors v0.9.0' >"$SOURCE/vendor/modules.txt"
  OPTIONS=(--network none)
  build
  status_is 1
  says "Build failed: vendor/ does not match go.mod"
fi

if begin failure-version; then
  seed
  hello
  config GOVERSION go1.25.99
  build
  status_is 1
  says "Go 1.25.99 does not exist"
  says "the config var GOVERSION"
  says "1.25.9"
  config GOVERSION "newest please"
  build
  status_is 1
  says "Invalid version of Go in the config var GOVERSION"
fi

if begin failure-no-main; then
  seed
  printf 'module example.com/library\n\ngo 1.25.0\n' >"$SOURCE/go.mod"
  echo 'package library' >"$SOURCE/library.go"
  OPTIONS=(--network none)
  build
  status_is 1
  says "No main package was found"
fi

if begin failure-before-modules; then
  mkdir "$SOURCE/vendor"
  echo '{}' >"$SOURCE/vendor/vendor.json"
  OPTIONS=(--network none)
  build
  status_is 1
  says "This app has no go.mod"
fi
