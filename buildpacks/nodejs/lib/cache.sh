# What stays from one build to the next. Directories named in CACHE_DIR/.senryu-keep are moved by
# the platform from BUILD_DIR to CACHE_DIR/keep once the slug is stored, and back before the next
# build: files keep their inodes, so that an unchanged tree is an unchanged layer of the slug.
# A platform that says so sets SENRYU_KEEP=1; for any other, this saves hard links by itself.

KEEP_DIR=$CACHE_DIR/keep
KEPT=()

# Brings PATH back unless the source holds it or the platform has done so already.
cache_take() { # PATH
  [ ! -e "$BUILD_DIR/$1" ] && [ -e "$KEEP_DIR/$1" ] || return 0
  mkdir -p "$(dirname "$BUILD_DIR/$1")"
  mv "$KEEP_DIR/$1" "$BUILD_DIR/$1"
}

cache_restore_runtime() { cache_take .heroku/node; }

# The directories that package.json asks to keep, without those that lead out of the app.
cache_directories() {
  local path
  while IFS= read -r path; do
    path=${path#./}
    path=${path%/}
    case "/$path/" in
      // | */../* | */./* | //* | /node_modules/ | /.heroku/* | *'*'*) ;;
      *) printf '%s\n' "$path" ;;
    esac
  done <<<"$CACHE_DIRECTORIES"
}

cache_restore_dependencies() {
  local path
  headline "Restoring cache"
  if [ "$NODE_MODULES_CACHE" != true ]; then
    detail "Caching has been disabled because NODE_MODULES_CACHE=$NODE_MODULES_CACHE"
    rm -rf "$KEEP_DIR/node_modules" "$CACHE_DIR/node/full"
    [ ! -f node_modules/.senryu-fingerprint ] || rm -rf node_modules
    return 0
  fi
  cache_take node_modules
  while IFS= read -r path; do
    cache_take "$path"
  done < <(cache_directories)
  if [ -f node_modules/.senryu-fingerprint ]; then
    detail "- node_modules"
  elif [ -d node_modules ]; then
    detail "- node_modules is checked into source control (nothing is restored)"
  else
    detail "- nothing is cached"
  fi
}

cache_save() {
  local path
  KEPT=(.heroku/node)
  headline "Caching build"
  if [ "$NODE_MODULES_CACHE" != true ]; then
    detail "Caching has been disabled because NODE_MODULES_CACHE=$NODE_MODULES_CACHE"
  else
    if [ -f node_modules/.senryu-fingerprint ]; then
      KEPT+=(node_modules)
      detail "- node_modules"
    fi
    while IFS= read -r path; do
      if [ -d "$path" ]; then
        KEPT+=("$path")
        detail "- $path"
      fi
    done < <(cache_directories)
  fi
  # Other buildpacks of this build may have named theirs.
  printf '%s\n' "${KEPT[@]}" >>"$CACHE_DIR/.senryu-keep"
  [ "${SENRYU_KEEP:-}" = 1 ] || cache_link
}

# Hard links instead of copies: neither time nor space for thousands of files.
cache_link() {
  local path
  rm -rf "$KEEP_DIR"
  for path in "${KEPT[@]}"; do
    mkdir -p "$(dirname "$KEEP_DIR/$path")"
    cache_copy "$BUILD_DIR/$path" "$KEEP_DIR/$path"
  done
}

# A build that fails late should not make the next one fetch everything again. Only trees whose
# content is certain go back.
save_after_failure() {
  cache_put_back .heroku/node "${RUNTIME_DIR:-}/.versions"
  [ "${NODE_MODULES_CACHE:-true}" = true ] || return 0
  dependencies_undo_swap
  if [ -f "$BUILD_DIR/node_modules/.senryu-fingerprint" ] && ! dependencies_changed; then
    cache_put_back node_modules "$BUILD_DIR/node_modules/.senryu-fingerprint"
  fi
}

# FROM TO: by hard links; by copying where the two are on different file systems.
cache_copy() {
  if ! cp -al "$1" "$2" 2>/dev/null; then
    rm -rf "$2"
    cp -a "$1" "$2"
  fi
}

cache_put_back() { # PATH PROOF
  [ -f "$2" ] || return 0
  rm -rf "${KEEP_DIR:?}/$1"
  mkdir -p "$(dirname "$KEEP_DIR/$1")"
  mv "$BUILD_DIR/$1" "$KEEP_DIR/$1" || true
}
