#!/bin/bash
# Runs in the build container, by the classic Buildpack API: detect, compile, report, release.
# It may stand by for long until /order/words says what to do: how many words follow, none to end,
# then the stack, the source's version, the build's id, whether the buildpacks that follow are
# candidates ("auto": the first that fits is taken) or chosen ("chosen": each must fit, and they run
# in this order), for how many seconds one may be fetched, and four words for each: its kind, what
# it is called, where it is, and its git ref. Standard output is the transcript; what the server
# needs to know goes to files in /work/result.
exec 2>&1
micros=0
language=app
# shellcheck source=/dev/null
. /buildpacks/remote
# shellcheck source=/dev/null
. /buildpacks/submodules

exec 3</order/words
IFS= read -r -d '' -u 3 count || exit 90
words=()
while [[ ${#words[@]} -lt $count ]]; do
  IFS= read -r -d '' -u 3 word || exit 90
  words+=("$word")
done
exec 3<&-
[[ $count != 0 ]] || exit 0
export STACK=${words[0]} SOURCE_VERSION=${words[1]} REQUEST_ID=${words[2]}
choice=${words[3]}
# shellcheck disable=SC2034
fetch_seconds=${words[4]}
kinds=() names=() places=() refs=() packs=()
for ((each = 5; each + 3 < count; each += 4)); do
  kinds+=("${words[each]}") names+=("${words[each + 1]}")
  places+=("${words[each + 2]}") refs+=("${words[each + 3]}")
done

# Whether a process or thread could not be started for the container's limit: the kernel counts.
met_process_limit() {
  local events word count
  for events in /sys/fs/cgroup/pids.events /sys/fs/cgroup/pids/pids.events; do
    [[ -r $events ]] || continue
    while read -r word count; do
      [[ $word != max || $count == 0 ]] || return 0
    done <"$events"
  done
  return 1
}

# Whatever failed for it, be it this script's own next process.
trap '[[ $? == 0 ]] || ! met_process_limit || exit 17' EXIT

# What is counted here is the buildpacks' own time.
timed() {
  local started=${EPOCHREALTIME/./} status=0
  "$@" || status=$?
  micros=$((micros + ${EPOCHREALTIME/./} - started))
  echo "$micros" >/work/result/micros
  return "$status"
}

# Its standard output is its name; what it says beside that is for the user of a chosen one.
detects() {
  if [[ $choice == auto ]]; then
    timed "$1/bin/detect" /work/build >/work/result/detected 2>/dev/null
  else
    timed "$1/bin/detect" /work/build 3>&1 >/work/result/detected 2>&3 3>&-
  fi
}

refuse() {
  echo "${names[$1]}" >/work/result/buildpack
  echo " !     Can't use the buildpack ${names[$1]}: $2."
  exit 14
}

# Buildpacks may write into their own directory, so each build gets a copy. Only one that is the
# app itself runs in its place.
bring() {
  local pack=/tmp/buildpacks/$1 place=${places[$1]} script
  case ${kinds[$1]} in
    bundled) cp -R "/buildpacks/$place" "$pack" || exit 90 ;;
    git) fetch_git "$place" "${refs[$1]}" "$pack" || refuse "$1" "$reason" ;;
    tarball) fetch_tarball "$place" "$pack" || refuse "$1" "$reason" ;;
    *)
      if [[ -z $place ]]; then
        pack=/work/build
      elif [[ -d /work/build/$place ]]; then
        cp -RL "/work/build/$place" "$pack" || exit 90
      else
        refuse "$1" "there is no directory $place in the source"
      fi
      ;;
  esac
  for script in detect compile; do
    [[ -x $pack/bin/$script && ! -d $pack/bin/$script ]] \
      || refuse "$1" "it has no program bin/$script"
  done
  packs[$1]=$pack
}

compile() {
  local pack=$1 set_up
  (
    for set_up in "${exports[@]}"; do
      # shellcheck source=/dev/null
      [[ -f $set_up ]] && . "$set_up"
    done
    exec "$pack/bin/compile" /work/build /work/cache /env
  )
}

# What a buildpack is called whose bin/detect says nothing.
short_name() {
  local name=${1%%#*}
  name=${name%/}
  name=${name##*/}
  [[ $name != . ]] || name=Inline
  echo "${name%.git}"
}

cd /work/build || exit 90
mkdir -p /tmp/buildpacks
install_submodules || exit 15
chosen=()
if [[ $choice == auto ]]; then
  for each in "${!names[@]}"; do
    if detects "/buildpacks/${places[each]}"; then
      chosen=("$each")
      break
    fi
  done
  [[ ${#chosen[@]} -gt 0 ]] || exit 10
else
  chosen=("${!names[@]}")
fi
for each in "${chosen[@]}"; do
  bring "$each"
done
forget_unused

exports=()
for each in "${chosen[@]}"; do
  pack=${packs[each]}
  echo "${names[each]}" >/work/result/buildpack
  if [[ $choice != auto ]]; then
    detects "$pack" || exit 11
  fi
  language=
  IFS= read -r language </work/result/detected
  if [[ -z $language ]]; then
    language=$(short_name "${names[each]}")
    echo "$language" >/work/result/detected
  fi
  echo "-----> $language app detected"
  status=0
  timed compile "$pack" || status=$?
  if [[ -x $pack/bin/report ]]; then
    timed "$pack/bin/report" /work/build /work/cache /env >/work/result/report 2>/dev/null
  fi
  [[ $status == 0 ]] || exit 12
  exports+=("$pack/export")
done

if [[ -x $pack/bin/release ]]; then
  timed "$pack/bin/release" /work/build >/work/result/release || exit 13
fi
# A Procfile may be a symbolic link, but to nothing outside of the app.
if [[ -L Procfile && $(readlink -f Procfile) != "$PWD"/* ]]; then
  echo " !     Procfile is a symbolic link that leads out of the app, to $(readlink Procfile)."
  exit 16
fi
if [[ -e Procfile || -L Procfile ]]; then
  if [[ ! -f Procfile ]]; then
    echo " !     Procfile is not a file."
    exit 16
  fi
  head -c 70000 Procfile >/work/result/procfile || exit 90
fi
echo done >/work/result/done
exit 0
