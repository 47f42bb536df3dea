# Poetry and Pipenv: a lock file that does not match is refused, one that does is installed, and a
# rebuild needs no network; nor does one of an app that is a package itself, by uv.

server() {
  cat >"$SOURCE/web.py" <<'PY'
import http.server, os, itsdangerous

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"signed " + itsdangerous.Signer("k").sign("x"))

http.server.HTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
PY
}

rebuild_offline() {
  local before
  before=$(inodes "$VOLUME/work/cache/keep" .heroku)
  OPTIONS=(--network none)
  build
  status_is 0
  report warm
  [ "$before" = "$(inodes "$VOLUME/work/build" .heroku)" ] && ok \
    || bad "a rebuild touched kept files"
  store
  answers "$1" "signed x."
}

if begin poetry; then
  seed
  server
  cat >"$SOURCE/pyproject.toml" <<TOML
[project]
name = "signer"
version = "1.0.0"
requires-python = ">=3.10"
dependencies = ["itsdangerous==2.2.0"]

[tool.poetry]
package-mode = false

[tool.poetry.group.dev.dependencies]
iniconfig = "2.1.0"

[[tool.poetry.source]]
name = "index"
url = "$(index)/"
priority = "primary"
TOML
  printf 'package = []\n\n[metadata]\nlock-version = "2.1"\npython-versions = ">=3.10"\ncontent-hash = "0"\n' \
    >"$SOURCE/poetry.lock"
  build
  status_is 1
  says "Build failed: poetry.lock does not match the project's own file"
  check "poetry locks" tool poetry lock --no-interaction
  build
  status_is 0
  report cold
  says "Using cached poetry"
  remember
  says "Installing dependencies using 'poetry sync --only main'"
  store
  check "no dev dependencies" test ! -e "$VOLUME/slug/.heroku/python/lib/python3.13/site-packages/iniconfig"
  answers "python web.py" "signed x."
  rebuild_offline "python web.py"
fi

if begin pipenv; then
  seed
  server
  cat >"$SOURCE/Pipfile" <<TOML
[[source]]
url = "$(index)"
verify_ssl = true
name = "index"

[packages]
itsdangerous = "==2.2.0"

[dev-packages]
iniconfig = "==2.1.0"

[requires]
python_version = "3.13"
TOML
  cat >"$SOURCE/Pipfile.lock" <<'JSON'
{ "_meta": { "hash": { "sha256": "0" }, "pipfile-spec": 6, "sources": [],
  "requires": { "python_version": "3.13" } }, "default": {}, "develop": {} }
JSON
  build
  status_is 1
  says "specified in Pipfile.lock"
  says "Build failed: Pipfile.lock does not match the project's own file"
  check "pipenv locks" tool pipenv lock
  build
  status_is 0
  report cold
  says "Installing dependencies using 'pipenv install --deploy'"
  store
  check "no dev dependencies" test ! -e "$VOLUME/slug/.heroku/python/lib/python3.13/site-packages/iniconfig"
  answers "pipenv run python web.py" "signed x."
  rebuild_offline "pipenv run python web.py"
fi

# BACKEND REQUIREMENT: a project that uv installs as a package.
package() {
  mkdir -p "$SOURCE/src/signer"
  echo 'VERSION = 1' >"$SOURCE/src/signer/__init__.py"
  cat >"$SOURCE/pyproject.toml" <<TOML
[project]
name = "signer"
version = "1.0.0"
requires-python = ">=3.10"
dependencies = ["itsdangerous==2.2.0"]

[build-system]
requires = ["$2"]
build-backend = "$1"
TOML
}

if begin uv-package; then
  seed
  server
  sed -i '1i import signer' "$SOURCE/web.py"
  package hatchling.build hatchling
  printf 'version = 1\nrevision = 3\nrequires-python = ">=3.10"\n' >"$SOURCE/uv.lock"
  build
  status_is 1
  check "uv locks" tool uv lock
  build
  status_is 0
  report cold
  store
  answers "python web.py" "signed x."
  # Each commit's files are new, whatever is in them.
  touch "$SOURCE/pyproject.toml" "$SOURCE/uv.lock"
  rebuild_offline "python web.py"
  # One that may hold more than a link is built again, by what was fetched for it before.
  OPTIONS=()
  package setuptools.build_meta setuptools
  build
  status_is 0
  store
  touch "$SOURCE/pyproject.toml"
  OPTIONS=(--network none)
  build
  status_is 0
  store
  answers "python web.py" "signed x."
fi
