#!/bin/bash
# Runs in the build container, by the classic Buildpack API: detect, compile, report, release.
# The first argument says whether the buildpacks that follow are candidates ("auto": the first
# that fits is taken) or chosen ("chosen": each must fit, and they run in this order). Standard
# output is the transcript; what the server needs to know goes to files in /work/result.
exec 2>&1
choice=$1
shift
micros=0
language=app

# What is counted here is the buildpacks' own time.
timed() {
  local started=${EPOCHREALTIME/./} status=0
  "$@" || status=$?
  micros=$((micros + ${EPOCHREALTIME/./} - started))
  echo "$micros" >/work/result/micros
  return "$status"
}

detects() {
  timed "/buildpacks/$1/bin/detect" /work/build >/work/result/detected 2>"$2"
}

# Buildpacks may write into their own directory, so each build gets a copy.
compile() {
  local pack=/tmp/buildpacks/$1 export
  (
    for export in "${exports[@]}"; do
      [[ -f $export ]] && . "$export"
    done
    exec "$pack/bin/compile" /work/build /work/cache /env
  )
}

cd /work/build || exit 90
mkdir -p /tmp/buildpacks
chosen=()
if [[ $choice == auto ]]; then
  for name in "$@"; do
    if detects "$name" /dev/null; then
      chosen=("$name")
      break
    fi
  done
  [[ ${#chosen[@]} -gt 0 ]] || exit 10
else
  chosen=("$@")
fi

exports=()
for name in "${chosen[@]}"; do
  echo "$name" >/work/result/buildpack
  if [[ $choice != auto ]]; then
    detects "$name" /dev/stdout || exit 11
  fi
  IFS= read -r language </work/result/detected
  echo "-----> ${language:=$name} app detected"
  cp -R "/buildpacks/$name" /tmp/buildpacks/ || exit 90
  status=0
  timed compile "$name" || status=$?
  if [[ -x /tmp/buildpacks/$name/bin/report ]]; then
    timed "/tmp/buildpacks/$name/bin/report" /work/build /work/cache /env >/work/result/report 2>/dev/null
  fi
  [[ $status == 0 ]] || exit 12
  exports+=("/tmp/buildpacks/$name/export")
done

if [[ -x /tmp/buildpacks/$name/bin/release ]]; then
  timed "/tmp/buildpacks/$name/bin/release" /work/build >/work/result/release || exit 13
fi
# Here a Procfile that is a symbolic link is as harmless as any other.
if [[ -e Procfile ]]; then
  head -c 70000 Procfile >/work/result/procfile || exit 90
fi
exit 0
