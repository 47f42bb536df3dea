# A failed build, told as what went wrong, why, and what to do.

failure_has() { grep -qE "$1" "$FAILED_LOG"; }

failure_explain() { # LOG
  FAILED_LOG=$1
  if failure_has 'inconsistent vendoring'; then
    fail "Build failed: vendor/ does not match go.mod" "" \
      "Bring it up to date, commit it, and push again: go mod vendor"
  elif failure_has 'missing go.sum entry|updates to go.(mod|sum) needed|go: updates to'; then
    fail "Build failed: go.mod or go.sum is not up to date" "" \
      "Bring them up to date, commit both, and push again: go mod tidy"
  elif failure_has 'requires go >= '; then
    fail "Build failed: go$GO_VERSION is too old for this app" "" \
      "The version is specified in ${VERSION_ORIGIN:-nothing}; the line above says which is" \
      "needed. Raise it (\"go get go@latest\" does so in go.mod), commit, and push again."
  elif failure_has 'could not read (Username|Password)|terminal prompts disabled|Permission denied'; then
    fail "Build failed: a private module asks for a password" "" \
      "Set a token for its host, and name it in GOPRIVATE: for github.com these are" "" \
      "  senryu config:set GO_GIT_CRED__HTTPS__GITHUB__COM=TOKEN GOPRIVATE=github.com/OWNER/*"
  elif failure_has 'no required module provides package|is not in (std|GOROOT)|cannot find module'; then
    fail "Build failed: a package is in no module that go.mod names" "" \
      "The compiler names it above. Add it, commit go.mod and go.sum, and push again: go mod tidy"
  elif failure_has 'unknown revision|404 Not Found|410 Gone|no matching versions'; then
    fail "Build failed: a module or its version does not exist" "" \
      "The module proxy does not know it (above). Check its name and version in go.mod."
  elif failure_has 'checksum mismatch|SECURITY ERROR'; then
    fail "Build failed: a module is not what go.sum says" "" \
      "Its checksum differs. If that is no surprise, remove its lines from go.sum, run" \
      "\"go mod tidy\", look at the change, commit, and push again."
  elif failure_has 'No space left'; then
    fail "Build failed: no space left" "" "The build's disk is full. Remove large files from the" \
      "source (.slugignore) or dependencies that are not needed."
  elif failure_has 'dial tcp|i/o timeout|connection (refused|reset)|no such host|TLS handshake'; then
    fail "Build failed: the module proxy could not be reached" "" \
      "The network failed, here or there. Push again; if it stays so, check that builds reach" \
      "the proxy (config var GOPROXY)."
  fi
  fail "Build failed: the compiler refused the app" "" \
    "What it says is above. Try \"go build ./...\" in a fresh clone with go$GO_VERSION; what fails" \
    "there fails here."
}
