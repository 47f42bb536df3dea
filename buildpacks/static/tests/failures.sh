# What can be wrong in static.json, and whether the user is told.

wrong() { # NAME JSON TEXT
  begin "failure-$1" || return 0
  printf '%s' "$2" >"$SOURCE/static.json"
  OPTIONS=(--network none)
  build
  status_is 1
  says " !     $3"
  says "commit, and push again."
}

wrong json '{ "root": "dist", }' "static.json is not valid JSON"
wrong type '{ "clean_urls": "yes" }' "static.json: clean_urls must be true or false"
wrong route '{ "routes": { "/**": 3 } }' "static.json: routes, /** must be a text"
wrong status '{ "redirects": { "/a": { "url": "/b", "status": 200 } } }' \
  "static.json: redirects, /a: 200 is no status of a redirect"
wrong root '{ "root": "../../etc" }' "static.json: root leads out of the app"
wrong origin '{ "proxies": { "/api/": { "origin": "file:///etc" } } }' \
  "static.json: proxies, /api/: 'file:///etc' is no address"
# A value cannot become a directive.
wrong injection '{ "headers": { "/": { "X": "a\"; }\n" } } }' \
  "static.json: a value has a character that cannot be used"
