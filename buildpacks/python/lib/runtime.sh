# Python under .heroku/cpython, and over it, under .heroku/python, the environment with the app's
# dependencies: one can be thrown away without the other.

CPYTHON_DIR=$BUILD_DIR/.heroku/cpython
PYTHON_DIR=$BUILD_DIR/.heroku/python

runtime_install() {
  local key
  mkdir -p "$BUILD_DIR/.heroku"
  environment_link_home cpython
  environment_link_home python
  versions_stack_look
  if versions_stack_fits; then
    PYTHON_VERSION=$STACK_PYTHON
    key=$STACK_KEY
  else
    key="uv $UV_VERSION $VERSION_REQUEST ${UV_PYTHON_DOWNLOADS_JSON_URL:-}"
  fi
  stamp_read "$CPYTHON_DIR"
  if [ "${STAMP_LINES[0]}" = "$key" ]; then
    PYTHON_VERSION=${STAMP_LINES[1]}
    versions_print "$PYTHON_VERSION"
    headline "Restoring cache"
    return 0
  fi
  rm -rf "$CPYTHON_DIR" "$PYTHON_DIR"
  case "$key" in
    stack*) versions_print "$PYTHON_VERSION"
      runtime_copy_stack ;;
    *) tools_uv
      versions_resolve
      versions_print "$PYTHON_VERSION"
      runtime_download ;;
  esac
  runtime_check
  printf '%s\n' "$key" "$PYTHON_VERSION" >"$CPYTHON_DIR/.senryu"
}

# The stack's own is in the build image only, so the slug gets a copy: without what only tests,
# builds and windows need. Its paths are relative to where the program is.
runtime_copy_stack() {
  local minor=${PYTHON_VERSION%.*} library
  mkdir -p "$CPYTHON_DIR/bin" "$CPYTHON_DIR/lib"
  cp -aL "/usr/bin/python$minor" "$CPYTHON_DIR/bin/python$minor"
  tar -C /usr/lib -cf - --exclude='config-*' --exclude="python$minor/test" \
    --exclude="python$minor/idlelib" --exclude="python$minor/turtledemo" \
    --exclude="python$minor/tkinter" --exclude='EXTERNALLY-MANAGED' \
    --exclude='sitecustomize.*' "python$minor" | tar -C "$CPYTHON_DIR/lib" -xf -
  # Headers, for native modules; they are in the build image only.
  ln -s /usr/include "$CPYTHON_DIR/include"
  # Libraries that a run image may lack are found beside the program.
  for library in "libpython$minor.so.1.0" libexpat.so.1; do
    for library in /usr/lib/*-linux-gnu/"$library"; do
      cp -aL "$library" "$CPYTHON_DIR/lib/${library##*/}"
    done
  done
  patchelf --set-rpath '$ORIGIN/../lib' "$CPYTHON_DIR/bin/python$minor"
  touch -r "/usr/bin/python$minor" "$CPYTHON_DIR/bin/python$minor"
}

# From where its makers publish it, through uv, which knows the place and the checksum of each.
runtime_download() {
  local made
  if ! with_config env UV_CACHE_DIR="$WORK_DIR/uv-cache" uv python install --no-bin \
    --install-dir "$WORK_DIR/pythons" "$PYTHON_VERSION" >"$WORK_DIR/download.log" 2>&1; then
    fail "Python $PYTHON_VERSION could not be downloaded" "" \
      "$(grep -v '^$' "$WORK_DIR/download.log" | tail -n 6)" "" \
      "It comes from where its makers publish it, or from a mirror of yours that the config var" \
      "UV_PYTHON_INSTALL_MIRROR names. Check that builds reach it, then push again." \
      "The stack's own Python needs no download: write $(versions_stack_minor) into" \
      "${VERSION_ORIGIN:-.python-version}."
  fi
  for made in "$WORK_DIR"/pythons/cpython-"$PYTHON_VERSION"-*; do
    [ ! -L "$made" ] || continue
    # It remembers where it was installed.
    { grep -rlIsF "$made" "$made"/lib/python*/_sysconfigdata* "$made"/lib/pkgconfig || true; } \
      | xargs -r sed -i "s#$made#$CPYTHON_HOME#g"
    rm -f "$made"/lib/python*/EXTERNALLY-MANAGED
    rm -rf "$made"/lib/python*/{test,idlelib,turtledemo} "$made/share/man"
    mv "$made" "$CPYTHON_DIR"
  done
}

runtime_program() { echo "$CPYTHON_HOME/bin/python${PYTHON_VERSION%.*}"; }

# What was installed must run and be what was asked for.
runtime_check() {
  local found
  found=$("$(runtime_program)" -c 'import platform, ssl, zlib; print(platform.python_version())' \
    2>&1) || true
  [ "$found" = "$PYTHON_VERSION" ] || fail "Python $PYTHON_VERSION does not run" "" "$found" "" \
    "What was installed is not what it should be; if a mirror is set, look at what it serves."
}

# A new, empty environment, as "python -m venv" would make it, which does not write through links.
runtime_make_environment() {
  local minor=${PYTHON_VERSION%.*} library
  rm -rf "$PYTHON_DIR"
  mkdir -p "$PYTHON_DIR/bin" "$PYTHON_DIR/lib/python$minor/site-packages"
  printf '%s\n' "home = $CPYTHON_HOME/bin" "include-system-site-packages = false" \
    "version = $PYTHON_VERSION" "executable = $(runtime_program)" >"$PYTHON_DIR/pyvenv.cfg"
  ln -s "$(runtime_program)" "$PYTHON_DIR/bin/python"
  ln -s python "$PYTHON_DIR/bin/python3"
  ln -s python "$PYTHON_DIR/bin/python$minor"
  ln -s lib "$PYTHON_DIR/lib64"
  # For programs that hold an interpreter of their own, such as uwsgi.
  for library in "$CPYTHON_DIR"/lib/libpython*.so.1.0; do
    ln -s "../../cpython/lib/${library##*/}" "$PYTHON_DIR/lib/${library##*/}"
  done
}
