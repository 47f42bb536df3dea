# shellcheck shell=bash
# Sourced by scripts/bench: a platform in a directory of its own, beside the one that runs, to be
# measured with as many apps as one likes. It is removed without a trace.

OWN=
OWN_URL=http://localhost:5791

own_senryu() { HOME=$OWN/home SENRYU_URL=$OWN_URL "$OWN/senryu" "$@"; }
own_git() { HOME=$OWN/home git "$@"; }

own_start() { # DIR FLAG...
  OWN=$1
  mkdir -p "$OWN/home"
  cp "$(command -v senryu)" "$OWN/senryu"
  "$OWN/senryu" server --data-dir "$OWN/data" --run-dir "$OWN/run" --parallel-builds 4 \
    --master-key-file "$OWN/master.key" --listen 127.0.0.1:5791 "${@:2}" 2>"$OWN/server.log" &
  OWN_SERVER=$!
  timeout 60 bash -c "until grep -q ': ready ' '$OWN/server.log'; do sleep 0.1; done" || return 1
  OWN_ROUTER=$(pgrep -f "^([^ ]*/)?senryu router --router-dir $OWN/" | head -n 1)
  own_senryu admin:create bench@example.com --login --socket "$OWN/run/admin.sock" >/dev/null
}

# One commit under so many app names, four pushes at once.
own_apps() { # COUNT WORK_TREE
  local number pushes=()
  for ((number = 1; number <= $1; number++)); do
    own_senryu apps:create "idle-$number" --no-remote >/dev/null 2>&1 || return 1
    own_git -C "$2" push -q "$OWN_URL/idle-$number.git" main >"$OWN/push-$number" 2>&1 &
    pushes+=($!)
    if ((${#pushes[@]} == 4)); then
      wait "${pushes[@]}" || return 1
      pushes=()
    fi
  done
  ((${#pushes[@]} == 0)) || wait "${pushes[@]}"
}

own_remove() {
  local id pid hook mount ids
  [ -n "$OWN" ] || return 0
  id=$(cat "$OWN/data/installation" 2>/dev/null || true)
  for pid in "${OWN_SERVER:-}" "${OWN_ROUTER:-}"; do
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
  done
  wait "${OWN_SERVER:-}" 2>/dev/null || true
  if [ -n "$id" ]; then
    mapfile -t ids < <(docker ps -aq --filter "label=senryu.installation=$id")
    [ "${#ids[@]}" -eq 0 ] || docker rm -f "${ids[@]}" >/dev/null
    mapfile -t ids < <(docker images -q --filter "label=senryu.installation=$id" | sort -u)
    [ "${#ids[@]}" -eq 0 ] || docker rmi -f "${ids[@]}" >/dev/null
    docker network rm "senryu-$id" >/dev/null || true
    for hook in INPUT FORWARD; do
      iptables -w -D "$hook" -i "snr$id" -j "SNR${id^^}" 2>/dev/null || true
    done
    if iptables -w -F "SNR${id^^}" 2>/dev/null; then iptables -w -X "SNR${id^^}"; fi
  fi
  while read -r mount; do umount "$mount"; done \
    < <(findmnt -rno TARGET | grep -F "$OWN/" | sort -r)
  # The next part's platform has nothing of this one's.
  rm -rf --one-file-system "$OWN"
  OWN=
}
