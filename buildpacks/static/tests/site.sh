# A site, asked for many paths by one dyno.

ANSWERS=

# [NAME=VALUE...] -- PATH...: starts the site and leaves "== PATH", headers and body of each answer
# in ANSWERS.
ask() {
  local settings=() path paths=
  while [ "$1" != -- ]; do
    settings+=("$1")
    shift
  done
  shift
  for path in "$@"; do paths+=" '$path'"; done
  # Arguments after a path's blank are curl's.
  ANSWERS=$(dyno "${settings[*]} bin/boot & for i in \$(seq 100); do
    curl -so /dev/null http://localhost:5000/ && break; sleep 0.05; done
    for path in $paths; do echo \"== \$path\"
      curl -si \${path#* } \"http://localhost:5000\${path%% *}\"; echo; done")
}

# PATH WORDS...: the answer to PATH has these words.
answered() {
  local part=${ANSWERS#*"== $1"$'\n'} words
  [ "$part" != "$ANSWERS" ] || bad "there is no answer to $1: $ANSWERS"
  part=${part%%$'\n== '*}
  for words in "${@:2}"; do
    if [[ $part == *"$words"* ]]; then ok; else bad "$1 was answered without \"$words\": $part"; fi
  done
}
answered_not() { # PATH WORDS
  local part=${ANSWERS#*"== $1"$'\n'}
  part=${part%%$'\n== '*}
  if [[ $part == *"$2"* ]]; then bad "$1 was answered with \"$2\": $part"; else ok; fi
}

if begin site static-site; then
  OPTIONS=(--network none)
  build
  status_is 0
  check "detect prints the language" grep -qx 'Static HTML' "$VOLUME/work/result/detected"
  check "release offers the server" grep -qx '  web: bin/boot' "$VOLUME/work/result/release"
  reads static.json
  store
  ask SITE_NAME=here -- / /about /about.html /docs /docs/ /app/deep/link /app/assets/x.js /old \
    /away/far /assets/site.css /missing /.heroku/static/nginx.conf /static.json
  answered / "200 OK" "static home" "X-Frame-Options: DENY" "Cache-Control: no-cache" \
    "Content-Type: text/html; charset=UTF-8"
  answered /about "200 OK" "<h1>about</h1>" "X-Frame-Options: DENY"
  answered /about.html "200 OK" "<h1>about</h1>"
  answered /docs "301" "Location: /docs/"
  answered /docs/ "200 OK" "<h1>docs</h1>" "X-Frame-Options: DENY"
  answered /app/deep/link "200 OK" "the app" "Content-Type: text/html"
  answered /app/assets/x.js "404" "nothing here"
  answered /old "301" "Location: /about"
  answered /away/far "302" "Location: https://example.com/?from=here"
  answered /assets/site.css "200 OK" "text/css" "Cache-Control: public, max-age=31536000"
  answered_not /assets/site.css "no-cache"
  answered /missing "404" "nothing here" "X-Frame-Options: DENY"
  answered /.heroku/static/nginx.conf "404"
  answered /static.json "404"

  before=$(inodes "$VOLUME/work/cache/keep" .heroku)
  build
  status_is 0
  says "Using nginx"
  report warm
  [ "$before" = "$(inodes "$VOLUME/work/build" .heroku/nginx)" ] && ok \
    || bad "a rebuild touched kept files"
fi

if begin single-page; then
  mkdir "$SOURCE/public_html"
  echo home >"$SOURCE/public_html/index.html"
  echo script >"$SOURCE/public_html/main.js"
  cat >"$SOURCE/static.json" <<'JSON'
{ "routes": { "/**": "index.html" }, "https_only": true, "canonical_host": "www.example.com",
  "logging": { "access": false }, "debug": true }
JSON
  OPTIONS=(--network none)
  build
  status_is 0
  says '"debug" is nothing that this buildpack knows'
  runs_always
  store
  ask -- / '/a/b -HX-Forwarded-Proto:https -HHost:www.example.com' \
    '/main.js -HX-Forwarded-Proto:https -HHost:www.example.com' \
    '/x?y=1 -HX-Forwarded-Proto:https -HHost:example.com'
  answered / "301" "Location: https://localhost/"
  answered '/a/b -HX-Forwarded-Proto:https -HHost:www.example.com' "200 OK" home
  answered '/main.js -HX-Forwarded-Proto:https -HHost:www.example.com' "200 OK" script
  answered '/x?y=1 -HX-Forwarded-Proto:https -HHost:example.com' \
    "Location: https://www.example.com/x?y=1"
fi

# A backend in the same dyno, so that no network is needed.
if begin backend; then
  mkdir "$SOURCE/public_html"
  echo home >"$SOURCE/public_html/index.html"
  cat >"$SOURCE/static.json" <<'JSON'
{ "root": "public_html", "basic_auth": true,
  "proxies": { "/api/": { "origin": "http://127.0.0.1:5001/base" } } }
JSON
  OPTIONS=(--network none)
  build
  status_is 0
  store
  ask BASIC_AUTH_USERNAME=ada BASIC_AUTH_PASSWORD=secret -- '/ -uada:secret' '/ -uada:wrong' \
    '/api/x?y=1 -uada:secret'
  answered '/ -uada:secret' "200 OK" home
  answered '/ -uada:wrong' "401"
  answered '/api/x?y=1 -uada:secret' "502"
  ask BASIC_AUTH_USERNAME=ada BASIC_AUTH_PASSWORD=secret \
    'socat tcp-listen:5001,reuseaddr,fork system:"head\ -n\ 1\ >/tmp/asked;echo\ HTTP/1.0\ 200\ OK;echo;cat\ /tmp/asked" & BASIC_AUTH_USERNAME=ada BASIC_AUTH_PASSWORD=secret' \
    -- '/api/x?y=1 -uada:secret'
  answered '/api/x?y=1 -uada:secret' "200 OK" "GET /base/x?y=1 HTTP/1.1"
fi
