# What stays from one build to the next. Directories named in CACHE_DIR/.senryu-keep are moved by
# the platform from BUILD_DIR to CACHE_DIR/keep once the slug is stored, and back before the next
# build: files keep their inodes, so that an unchanged tree is an unchanged layer of the slug.
# A platform that says so sets SENRYU_KEEP=1; for any other, this saves hard links by itself.

KEEP_DIR=$CACHE_DIR/keep
KEPT=(.heroku/cpython .heroku/python)

STAMP_LINES=('' '')

# Reads both lines of a tree's stamp; empty ones where there is none.
stamp_read() { # TREE
  STAMP_LINES=('' '')
  [ ! -f "$1/.senryu" ] \
    || { IFS= read -r "STAMP_LINES[0]" && IFS= read -r "STAMP_LINES[1]"; } <"$1/.senryu" || true
}

# Brings PATH back unless the platform has done so already.
cache_take() { # PATH
  [ ! -e "$BUILD_DIR/$1" ] && [ -e "$KEEP_DIR/$1" ] || return 0
  mkdir -p "$(dirname "$BUILD_DIR/$1")"
  mv "$KEEP_DIR/$1" "$BUILD_DIR/$1"
}

cache_restore() {
  local path
  for path in "${KEPT[@]}"; do cache_take "$path"; done
}

# Other buildpacks of this build may have named theirs.
cache_save() {
  headline "Saving cache"
  printf '%s\n' "${KEPT[@]}" >>"$CACHE_DIR/.senryu-keep"
  [ "${SENRYU_KEEP:-}" = 1 ] || cache_link
}

# Hard links instead of copies: neither time nor space for thousands of files.
cache_link() {
  local path
  for path in "${KEPT[@]}"; do
    rm -rf "${KEEP_DIR:?}/$path"
    mkdir -p "$(dirname "$KEEP_DIR/$path")"
    if ! cp -al "$BUILD_DIR/$path" "$KEEP_DIR/$path" 2>/dev/null; then
      rm -rf "${KEEP_DIR:?}/$path"
      cp -a "$BUILD_DIR/$path" "$KEEP_DIR/$path"
    fi
  done
}

# A build that fails late should not make the next one fetch everything again. Each tree has a
# stamp only while it is whole.
save_after_failure() {
  local path
  for path in "${KEPT[@]}"; do
    [ -f "$BUILD_DIR/$path/.senryu" ] || continue
    rm -rf "${KEEP_DIR:?}/$path"
    mkdir -p "$(dirname "$KEEP_DIR/$path")"
    mv "$BUILD_DIR/$path" "$KEEP_DIR/$path" || true
  done
}
