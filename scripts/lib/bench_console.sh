# shellcheck shell=bash
# Sourced by scripts/bench: its part `console`, the list of apps on a platform with 1,000 of them. How
# long it takes to the first byte, through the router as a browser gets it, and how many bytes the page
# has with all that it needs.

CONSOLE_APPS=${CONSOLE_APPS:-1000}
CONSOLE_REQUESTS=${CONSOLE_REQUESTS:-300}

console() {
  local number address
  own_start "$WORK/own" || fail "A second platform did not start"
  (
    umask 077
    echo "Authorization: Bearer $(own_senryu auth:token)" >"$WORK/bearer"
    for ((number = 1; number <= CONSOLE_APPS; number++)); do
      ((number == 1)) || echo next
      printf 'url = "%s/apps"\nheader = "@%s"\nheader = "Content-Type: application/json"\n' \
        "$OWN_URL" "$WORK/bearer"
      printf 'data = "{\\"name\\": \\"shop-%04d\\"}"\noutput = "/dev/null"\nfail\n' "$number"
    done >"$WORK/apps"
  )
  curl -sS -K "$WORK/apps" || fail "The apps were not made"
  console_sign_in
  curl -fsS -H "@$WORK/cookie" "$OWN_URL/console/apps" | grep -q "$CONSOLE_APPS apps" \
    || fail "The console does not list $CONSOLE_APPS apps"
  console_first_byte "apps page of $CONSOLE_APPS apps" '?q='
  console_first_byte "  its last page" "?page=$((CONSOLE_APPS / 50))"
  console_first_byte "  a search that finds some" '?q=op-07'
  : >"$WORK/bytes"
  for address in /console/apps $(curl -fsS -H "@$WORK/cookie" "$OWN_URL/console/apps" \
    | grep -o '/console/assets/[^"]*' | sort -u); do
    curl -fsS --compressed -H "@$WORK/cookie" -o /dev/null -w '%{size_download} %{size_header}\n' \
      "$OWN_URL$address" >>"$WORK/bytes"
  done
  line "  bytes of it with style, script and icon" \
    "$(awk '{ sum += $1 + $2 } END { print sum }' "$WORK/bytes")" "target 100000"
  own_remove
}

# Every request on one connection, and packed, as a browser asks.
console_first_byte() { # NAME QUERY
  curl -fsS --compressed -H "@$WORK/cookie" -o /dev/null -w '%{time_starttransfer}\n' \
    "$OWN_URL/console/apps$2&n=[1-$CONSOLE_REQUESTS]" | sort -n >"$WORK/times" \
    || fail "The console does not answer"
  awk '{ ms[NR] = $1 * 1000 }
    END { printf "%.1f %.1f\n", ms[int((NR + 1) / 2)], ms[int(NR * 0.95 + 0.5)] }' \
    "$WORK/times" >"$WORK/shares"
  line "$1: first byte, median" "$(cut -d' ' -f1 "$WORK/shares") ms"
  line "  95th percentile of $CONSOLE_REQUESTS" "$(cut -d' ' -f2 "$WORK/shares") ms" "target 20 ms"
}

# An admin of the second platform, with a password of their own choice.
console_sign_in() {
  local first token form='Sec-Fetch-Site: same-origin'
  first=$(own_senryu admin:create console@example.com --socket "$OWN/run/admin.sock" | head -n 1)
  printf %s "$first" >"$WORK/first"
  printf %s "correct horse battery staple" >"$WORK/second"
  curl -fsS -D "$WORK/headers" -o /dev/null -H "$form" --data-urlencode email=console@example.com \
    --data-urlencode "password@$WORK/first" "$OWN_URL/console/sign-in"
  sed -n 's/^set-cookie: \([^;]*\).*/Cookie: \1/ip' "$WORK/headers" >"$WORK/cookie"
  token=$(curl -fsS -H "@$WORK/cookie" "$OWN_URL/console/password" \
    | sed -n 's/.*name="token" value="\([^"]*\)".*/\1/p' | head -n 1)
  curl -fsS -o /dev/null -H "$form" -H "@$WORK/cookie" --data-urlencode "token=$token" \
    --data-urlencode "current@$WORK/first" --data-urlencode "new@$WORK/second" \
    --data-urlencode "again@$WORK/second" "$OWN_URL/console/password"
}
