# What the app is: its go.mod, with what its comments tell Heroku.

MODULE=
GO_LINE=        # 1.22 or 1.22.3
TOOLCHAIN_LINE= # 1.22.3
HEROKU_VERSION= # of "// +heroku goVersion go1.22"
HEROKU_INSTALL= # of "// +heroku install ./cmd/..."

project_read() {
  local line
  [ -f go.mod ] || fail "This app has no go.mod" "" \
    "It was made for a tool from before Go modules, which Go itself no longer supports. Run" \
    "\"go mod init NAME\" and \"go mod tidy\", which take over its list of dependencies, commit" \
    "go.mod and go.sum, and push again."
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    case "$line" in
      "module "*) MODULE=${line#module }
        MODULE=${MODULE%%//*}
        MODULE=${MODULE//[\" ]/} ;;
      "go "*) GO_LINE=$(project_word "$line") ;;
      "toolchain go"*) TOOLCHAIN_LINE=$(project_word "$line")
        TOOLCHAIN_LINE=${TOOLCHAIN_LINE#go}
        TOOLCHAIN_LINE=${TOOLCHAIN_LINE%%[-+]*} ;;
      "// +heroku goVersion "*) HEROKU_VERSION=${line#// +heroku goVersion } ;;
      "// +heroku install "*) HEROKU_INSTALL=${line#// +heroku install } ;;
    esac
  done <go.mod
  headline "Detected go modules via go.mod"
  detail "Module name: ${MODULE:-none}"
  [ ! -f vendor/modules.txt ] || detail "Dependencies come from vendor/"
}

# LINE: its second word.
project_word() {
  local words
  read -ra words <<<"$1"
  echo "${words[1]:-}"
}
