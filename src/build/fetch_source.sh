#!/bin/bash
# Fetches a source's archive inside a build container. Its address is in a file, since it may hold
# a secret; so is the reason of a failure, for the server. Each address on the way, redirects
# included, must lead to a public host, and it is that host which is then connected to.
bytes=$1
seconds=$2
to=/work/tmp/source
SECONDS=0

fail() {
  echo "$1" >/work/result/reason
  exit 1
}

is_private() {
  case $1 in
    0.* | 10.* | 127.* | 169.254.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].*) ;;
    100.6[4-9].* | 100.[7-9][0-9].* | 100.1[01][0-9].* | 100.12[0-7].*) ;;
    22[4-9].* | 23[0-9].* | 24[0-9].* | 25[0-5].*) ;;
    :: | ::1 | ::ffff:* | 64:ff9b:* | f[cd][0-9a-f][0-9a-f]:* | fe[89ab][0-9a-f]:* | ff*) ;;
    *) return 1 ;;
  esac
}

refuse_private() {
  ! is_private "$2" || fail "$1 has the private address $2; only public ones will do"
}

# Leaves what curl shall connect to in `pinned`.
look_up() {
  local scheme=${1%%://*} rest=${1#*://} host port addresses address
  rest=${rest%%[/?#]*}
  rest=${rest##*@}
  [[ $scheme == http || $scheme == https ]] || fail "its address is neither http nor https"
  port=443
  [[ $scheme == https ]] || port=80
  if [[ $rest == \[* ]]; then
    host=${rest%%]*}
    host=${host#[}
    rest=${rest#*]}
    [[ $rest != :* ]] || port=${rest#:}
  else
    host=${rest%%:*}
    [[ $rest != *:* ]] || port=${rest##*:}
  fi
  pinned=()
  # A machine without IPv6 knows not even the name of its own address.
  [[ ! $host =~ ^[0-9.]+$|: ]] || refuse_private "$host" "$host"
  # Behind a proxy, names are the proxy's business.
  [[ -z ${HTTPS_PROXY:-}${https_proxy:-}${ALL_PROXY:-}${all_proxy:-} ]] || return 0
  addresses=$(getent ahosts "$host") || fail "the name $host can't be resolved"
  while read -r address _; do
    refuse_private "$host" "$address"
    # The first is the one that is preferred.
    [[ ${#pinned[@]} -gt 0 || $host == *:* ]] || pinned=(--resolve "$host:$port:$address")
  done <<<"$addresses"
}

quoted() {
  local text=${1//\\/\\\\}
  printf 'url = "%s"\n' "${text//\"/\\\"}"
}

url=$(</env/source)
for _ in 1 2 3 4 5 6; do
  look_up "$url"
  left=$((seconds - SECONDS))
  [[ $left -gt 0 ]] || fail "it was not there within $seconds seconds"
  status=0
  said=$(quoted "$url" | curl --config - --silent --show-error --proto '=http,https' \
    --connect-timeout 20 --max-time "$left" --max-filesize "$bytes" "${pinned[@]}" \
    --output "$to" --write-out '%{http_code} %{redirect_url}' 2>/work/tmp/said) || status=$?
  case $status in
    0) ;;
    28) fail "it was not there within $seconds seconds" ;;
    63) fail "it is larger than $((bytes / 1048576)) MB" ;;
    *) fail "$(sed 's/^curl: ([0-9]*) //' /work/tmp/said | head -n 1)" ;;
  esac
  code=${said%% *}
  url=${said#* }
  case $code in
    2*) exit 0 ;;
    3*) [[ -n $url ]] || fail "the host answered with $code" ;;
    *) fail "the host answered with $code" ;;
  esac
done
fail "its address is redirected too often"
