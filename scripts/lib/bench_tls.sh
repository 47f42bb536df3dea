# shellcheck shell=bash
# Sourced by scripts/bench: its part `tls`, handshakes a second beside nginx and HAProxy with the very
# same certificate before the very same dyno, and the router's memory with 1,000 certificates.

TLS_NAME=bench.example.com
TLS_CERTIFICATES=${TLS_CERTIFICATES:-1000}

tls() {
  local tool name round
  for tool in wrk nginx haproxy openssl; do
    command -v "$tool" >/dev/null || { line "tls" "skipped" "install wrk, nginx, haproxy, openssl"; return; }
  done
  own_start "$WORK/own" --tls-listen 127.0.0.1:5793 || fail "A second platform did not start"
  own_apps 1 "$WORK/app" || fail "The second platform took no push"
  tls_certificate "$TLS_NAME" "$WORK/tls"
  own_senryu domains:add "$TLS_NAME" -a idle-1 >/dev/null 2>&1
  own_senryu certs:add "$WORK/tls.crt" "$WORK/tls.key" -a idle-1 >/dev/null 2>&1 \
    || fail "The certificate was not taken"
  echo "127.0.0.1 localhost $TLS_NAME" >"$WORK/hosts"
  tls_peers "$(docker inspect -f \
    '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}:{{index .Config.Labels "senryu.port"}}' \
    "$(docker ps -q --filter "label=senryu.installation=$(cat "$OWN/data/installation")" | head -n 1)")"
  for name in senryu nginx haproxy; do : >"$WORK/tls-$name"; done
  for ((round = 0; round < 3; round++)); do
    for name in senryu nginx haproxy; do tls_load "$name" >>"$WORK/tls-$name"; done
  done
  for name in senryu nginx haproxy; do
    line "TLS handshakes a second through $name, a request each" "$(median <"$WORK/tls-$name")" \
      "ratio $(ratio "$(median <"$WORK/tls-senryu")" "$(median <"$WORK/tls-$name")")"
  done
  tls_many
  own_remove
}

tls_certificate() { # NAME FILE
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
    -addext "subjectAltName=DNS:$1" -keyout "$2.key" -out "$2.crt" 2>/dev/null
  cat "$2.crt" "$2.key" >"$2.pem"
}

# wrk asks for the name that is in its URL, which only this one process has to find.
tls_load() { # NAME
  local port
  case $1 in senryu) port=5793 ;; nginx) port=9473 ;; haproxy) port=9474 ;; esac
  # shellcheck disable=SC2016
  unshare -m bash -c 'mount --bind "$1" /etc/hosts && shift && exec "$@"' _ "$WORK/hosts" \
    wrk -t1 -c32 -d"$LOAD_SECONDS" -H 'Connection: close' "https://$TLS_NAME:$port/" >"$WORK/wrk"
  ! grep -q 'Non-2xx' "$WORK/wrk" || fail "$1 failed requests: $(cat "$WORK/wrk")"
  awk '/^Requests\/sec/ { printf "%d\n", $2 }' "$WORK/wrk"
}

tls_peers() { # UPSTREAM
  cat >"$WORK/nginx-tls.conf" <<CONF
daemon off; worker_processes 2; pid $WORK/nginx-tls.pid; error_log $WORK/nginx-tls.err;
events { worker_connections 4096; }
http {
  access_log $WORK/nginx-tls.log;
  upstream dyno { server $1; keepalive 64; }
  server {
    listen 127.0.0.1:9473 ssl reuseport; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate $WORK/tls.crt; ssl_certificate_key $WORK/tls.key;
    location / { proxy_pass http://dyno; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
CONF
  cat >"$WORK/haproxy-tls.cfg" <<CONF
global
  nbthread 2
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  http-reuse always
  timeout connect 5s
  timeout client 90s
  timeout server 55s
frontend public
  bind 127.0.0.1:9474 ssl crt $WORK/tls.pem ssl-min-ver TLSv1.2
  default_backend dyno
backend dyno
  server dyno $1
CONF
  setsid nginx -c "$WORK/nginx-tls.conf" -e "$WORK/nginx-tls.err" & PEERS+=($!)
  setsid haproxy -f "$WORK/haproxy-tls.cfg" >"$WORK/haproxy-tls.log" 2>&1 & PEERS+=($!)
  local port
  for port in 9473 9474; do
    timeout 10 bash -c "until curl -kfsS -o /dev/null https://127.0.0.1:$port/; do :; done" 2>/dev/null \
      || fail "A peer does not answer on port $port"
  done
}

# Loaded while it runs, a hundred to an app.
tls_many() {
  local number app before
  before=$(resident "$OWN_ROUTER")
  for ((number = 1; number < TLS_CERTIFICATES; number++)); do
    app=many-$(((number - 1) / 100 + 1))
    ((number % 100 != 1)) || own_senryu apps:create "$app" --no-remote >/dev/null 2>&1 || true
    tls_certificate "n$number.example.com" "$WORK/many"
    own_senryu domains:add "n$number.example.com" -a "$app" >/dev/null 2>&1
    own_senryu certs:add "$WORK/many.crt" "$WORK/many.key" -a "$app" >/dev/null 2>&1 \
      || fail "Certificate $number was not taken"
  done
  kill -0 "$OWN_ROUTER" || fail "The router is another one"
  openssl s_client -connect 127.0.0.1:5793 -servername "n$((TLS_CERTIFICATES - 1)).example.com" \
    </dev/null 2>/dev/null | grep -q 'Cipher is TLS' || fail "The last certificate is not served"
  line "router's memory with $TLS_CERTIFICATES certificates, none restarted" \
    "$(resident "$OWN_ROUTER")" "with one: $before"
}
