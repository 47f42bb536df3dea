# The main packages, and the programs that they become.

PACKAGES=()
INSTALLED=()

packages_choose() {
  local spec=
  if [ -n "${GO_INSTALL_PACKAGE_SPEC:-}" ]; then
    spec=$GO_INSTALL_PACKAGE_SPEC
    headline "Installing the packages of GO_INSTALL_PACKAGE_SPEC"
  elif [ -n "$HEROKU_INSTALL" ]; then
    spec=$HEROKU_INSTALL
    headline "Installing the packages that go.mod names (+heroku install)"
  fi
  if [ -n "$spec" ]; then
    set -f
    # shellcheck disable=SC2206
    PACKAGES=($spec)
    set +f
    return 0
  fi
  headline "Determining packages to install"
  with_config go list -e -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./... \
    >"$WORK_DIR/packages" 2>"$WORK_DIR/list.log" || {
      sed 's/^/       /' "$WORK_DIR/list.log"
      failure_explain "$WORK_DIR/list.log"
    }
  mapfile -t PACKAGES <"$WORK_DIR/packages"
  [ ${#PACKAGES[@]} -gt 0 ] || fail "No main package was found" "" \
    "An app needs at least one folder with Go files of \"package main\"." "" \
    "$(tail -n 3 "$WORK_DIR/list.log")"
  detail "Main packages:" "${PACKAGES[@]/#/  }"
}

packages_install() {
  local options=(-v -tags heroku) program
  [ -z "${GO_LINKER_SYMBOL:-}" ] || [ -z "${GO_LINKER_VALUE:-}" ] \
    || options+=(-ldflags "-X $GO_LINKER_SYMBOL=$GO_LINKER_VALUE")
  # A program that is up to date is not linked again; the last ones are beside the cache.
  mkdir -p "$GOBIN" "$CACHE_DIR/go/programs" bin
  cp -a "$CACHE_DIR/go/programs/." "$GOBIN/"
  touch "$WORK_DIR/before"
  headline "Running: go install ${options[*]} ${PACKAGES[*]}"
  run_logged "$WORK_DIR/install.log" go install "${options[@]}" "${PACKAGES[@]}" \
    || failure_explain "$WORK_DIR/install.log"
  packages_forget_others
  for program in "$GOBIN"/*; do
    INSTALLED+=("${program##*/}")
    cp -a "$program" "bin/${program##*/}"
  done
  rm -rf "$CACHE_DIR/go/programs"
  cp -a "$GOBIN" "$CACHE_DIR/go/programs"
  headline "Installed the following binaries:"
  detail "${INSTALLED[@]/#/  ./bin/}"
}

# Programs of an earlier build whose packages are gone or not wanted any more.
packages_forget_others() {
  local wanted program
  wanted=$(with_config go list -f '{{.Target}}' "${PACKAGES[@]}" 2>/dev/null) || return 0
  for program in "$GOBIN"/*; do
    grep -qxF "$program" <<<"$wanted" || rm -f "$program"
  done
}

packages_write_procfile() {
  [ ! -f Procfile ] && [ ${#INSTALLED[@]} = 1 ] || return 0
  printf 'web: bin/%s\n' "${INSTALLED[0]}" >Procfile
  headline "Created a Procfile with the following entries:"
  detail "  web: bin/${INSTALLED[0]}" "" \
    "If this looks incomplete or incorrect, please create a Procfile with the required entries."
}
