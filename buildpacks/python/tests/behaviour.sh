# Versions, settings, hooks, and what dynos see.

if begin settings; then
  seed
  touch "$SOURCE/requirements.txt"
  echo python-3.13 >"$SOURCE/runtime.txt"
  mkdir "$SOURCE/bin"
  # Names that the buildpack might use itself must not confuse it.
  config MANAGER maven
  config WORK_DIR /etc
  config BUILDPACK_DIR /nowhere
  config PATH /nowhere
  config PYTHONHOME /nowhere
  config SECRET_FOR_BUILD "two words"
  # shellcheck disable=SC2016
  printf '#!/bin/sh\necho "before: $MANAGER, $SECRET_FOR_BUILD"\n' >"$SOURCE/bin/pre_compile"
  printf '#!/bin/sh\npython -c "import sys; print(sys.prefix, sys.base_prefix)"\n' \
    >"$SOURCE/bin/post_compile"
  build
  status_is 0
  says "The file runtime.txt is deprecated"
  says "before: maven, two words"
  says "/app/.heroku/python /app/.heroku/cpython"
  runs_always
  store
  seen=$(dyno 'env; python -c "import sqlite3, ssl, ctypes, curses, readline, lzma, bz2, uuid, \
    dbm, xml.parsers.expat, zoneinfo, decimal; print(1, sqlite3.connect(\":memory:\"))"')
  for words in PYTHONUNBUFFERED=true PYTHONHASHSEED=random PYTHONPATH=/app LANG=C.UTF-8 \
    'FORWARDED_ALLOW_IPS=*' 'GUNICORN_CMD_ARGS=--access-logfile -' WEB_CONCURRENCY=2 \
    'LD_LIBRARY_PATH=/app/.heroku/vendor/lib:/app/.heroku/python/lib' "1 <sqlite3.Connection"; do
    [[ $seen == *"$words"* ]] && ok || bad "a dyno lacks $words: $seen"
  done
  [[ $(dyno 'env -i /app/.heroku/python/bin/python -V') == *"Python 3.13."* ]] && ok \
    || bad "Python does not run without its variables"
fi

# An app that is installed from its own source is found under /app.
if begin editable; then
  seed
  mkdir -p "$SOURCE/src/shop"
  echo 'where = __file__' >"$SOURCE/src/shop/__init__.py"
  cat >"$SOURCE/setup.py" <<'PY'
from setuptools import setup
setup(name="shop", version="1", packages=["shop"], package_dir={"": "src"})
PY
  mkdir "$SOURCE/bin"
  printf '#!/bin/sh\npython -c "import shop; print(shop.where)"\n' >"$SOURCE/bin/post_compile"
  build
  status_is 0
  says "Installing dependencies using 'pip install --editable .'"
  says "/app/src/shop/__init__.py"
  runs_always
  store
  [[ $(dyno 'PYTHONPATH= python -c "import shop; print(shop.where)"') == *"/app/src/shop"* ]] \
    && ok || bad "the app's own package is not found"
fi

if begin requirements-change flask; then
  seed
  printf -- '-r base.txt\n' >"$SOURCE/requirements.txt"
  echo 'itsdangerous==2.2.0' >"$SOURCE/base.txt"
  build
  status_is 0
  store
  config SOMETHING new
  build
  says "Nothing has changed since the last build"
  for path in requirements.txt ./base.txt bin/post_compile; do reads "$path"; done
  store
  echo 'blinker==1.9.0' >"$SOURCE/base.txt"
  build
  status_is 0
  says "Discarding cached dependencies, as requirements.txt or its settings changed"
  says "Installing collected packages: blinker"
  check "what is not wanted any more is gone" \
    test ! -e "$VOLUME/work/build/.heroku/python/lib/python3.13/site-packages/itsdangerous"
fi

if begin collectstatic-off django; then
  seed
  config DISABLE_COLLECTSTATIC 1
  build
  status_is 0
  says "Skipping Django collectstatic since the env var DISABLE_COLLECTSTATIC is set."
  reads requirements.txt
fi

# Another Python than the stack's, from a list and an archive of our own. There is no other here,
# so it is the stack's with the last digit of its number changed in the program itself.
make_mirror() {
  mkdir -p "$VOLUME/work/mirror"
  chown 1000:1000 "$VOLUME/work/mirror"
  docker run --rm --network none --label senryu.kind=build --user 1000:1000 \
    -v "$VOLUME/work/mirror:/mirror" -w /mirror "$BUILD_IMAGE" bash -c '
      set -e
      own=$(python3 -V | cut -d" " -f2) minor=${own%.*}
      other=${own%?}$(((${own: -1} + 1) % 10))
      mkdir -p python/bin python/lib
      sed "s/${own//./\\.}/$other/g" /usr/bin/python$minor >python/bin/python$minor
      chmod +x python/bin/python$minor
      patchelf --set-rpath "\$ORIGIN/../lib" python/bin/python$minor
      ln -s python$minor python/bin/python3
      cp -L /usr/lib/*/libexpat.so.1 python/lib/
      tar -C /usr/lib -cf - --exclude="config-*" --exclude="sitecustomize*" python$minor \
        | tar -C python/lib -xf -
      tar -czf python.tar.gz python
      echo "$other"'
}
listed() { # PATCH: an entry of uv's list
  cat <<JSON
"cpython-$MINOR.$1-linux-$(uname -m)-gnu": { "name": "cpython", "variant": null, "build": "1",
  "arch": { "family": "$(uname -m)", "variant": null }, "os": "linux", "libc": "gnu",
  "major": 3, "minor": ${MINOR#3.}, "patch": $1, "prerelease": "",
  "url": "file:///work/mirror/python.tar.gz",
  "sha256": "$(sha256sum "$VOLUME/work/mirror/python.tar.gz" | cut -c1-64)" }
JSON
}

if begin version-fetched flask; then
  seed
  OTHER=$(make_mirror)
  MINOR=${OTHER%.*}
  echo "{ $(listed "${OTHER##*.}"), $(listed 99) }" >"$VOLUME/work/mirror/list.json"
  config UV_PYTHON_DOWNLOADS_JSON_URL file:///work/mirror/list.json
  echo "$OTHER" >"$SOURCE/.python-version"
  build
  status_is 0
  report cold
  remember
  says "Using Python $OTHER specified in .python-version"
  store
  [[ $(dyno 'env -i /app/.heroku/python/bin/python -V') == *"Python $OTHER"* ]] && ok \
    || bad "the dyno runs another Python: $(dyno 'python -V')"
  answers "gunicorn app:app -b :5000" "flask v7 web.1 concurrency 2 python 3"
  OPTIONS=(--network none)
  build
  status_is 0
  says "Nothing has changed since the last build"
  store
  # What is not what it should be is refused, and what is not listed has its neighbours named.
  echo "$MINOR.99" >"$SOURCE/.python-version"
  build
  status_is 1
  says "Python $MINOR.99 does not run"
  echo "$MINOR.50" >"$SOURCE/.python-version"
  build
  status_is 1
  says "Python $MINOR.50 cannot be had"
  says "         $OTHER, $MINOR.99"

  # uv's own list.
  rm "$VOLUME/env/UV_PYTHON_DOWNLOADS_JSON_URL"
  echo 3.12.77 >"$SOURCE/.python-version"
  build
  status_is 1
  says "Python 3.12.77 cannot be had"
  says "3.12.16"
  # A version that exists, where nobody can be reached.
  echo 3.12.11 >"$SOURCE/.python-version"
  build
  status_is 1
  says "Python 3.12.11 could not be downloaded"
  says "UV_PYTHON_INSTALL_MIRROR"
fi
