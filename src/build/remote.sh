#!/bin/bash
# shellcheck disable=SC2154,SC2034
# Fetches buildpacks by git or as tarballs, inside the build container; the driver sources this.
# What was fetched stays on the app's volume, so that only what is new is fetched again, and so
# that a host which is away for once does not stop the app's builds. A function that fails leaves
# its reason in `reason`.
store=/work/buildpacks
used=()
reason=
# Not empty when the host could not be reached, as opposed to one that has answered.
away=

slot() {
  local sum
  sum=$(printf '%s' "$1" | sha256sum)
  at=$store/${sum%% *}
  used+=("$at")
  mkdir -p "$at"
}

# What an app no longer uses goes.
forget_unused() {
  local dir
  for dir in "$store"/*; do
    [[ " ${used[*]} " == *" $dir "* ]] || rm -rf "$dir"
  done
}

is_private() {
  case $1 in
    0.* | 10.* | 127.* | 169.254.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].*) ;;
    100.6[4-9].* | 100.[7-9][0-9].* | 100.1[01][0-9].* | 100.12[0-7].*) ;;
    22[4-9].* | 2[3-5][0-9].*) ;;
    :: | ::1 | ::ffff:* | f[cd][0-9a-f][0-9a-f]:* | fe[89ab][0-9a-f]:* | ff*:*) ;;
    *) return 1 ;;
  esac
}

# The firewall keeps a build from what it may not reach; this says so in words.
reachable() {
  local host=${1#https://} addresses address
  away='' reason=''
  host=${host%%[/?#]*}
  host=${host##*@}
  if [[ $host == \[* ]]; then
    host=${host%%]*}
    host=${host#[}
  else
    host=${host%%:*}
  fi
  if [[ $host =~ ^[0-9.]+$|: ]] && is_private "$host"; then
    reason="$host is a private address, and builds fetch from public ones only"
    return 1
  fi
  # Behind a proxy, names are the proxy's business.
  [[ -z ${HTTPS_PROXY:-}${https_proxy:-}${ALL_PROXY:-}${all_proxy:-} ]] || return 0
  if ! addresses=$(getent ahosts "$host"); then
    reason="the name $host can't be resolved" away=yes
    return 1
  fi
  while read -r address _; do
    if is_private "$address"; then
      reason="$host has the private address $address, and builds fetch from public ones only"
      return 1
    fi
  done <<<"$addresses"
}

quiet_git() {
  GIT_ALLOW_PROTOCOL=https GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1 \
    GIT_CONFIG_GLOBAL=/dev/null timeout "$fetch_seconds" git -C "$at/tree" "$@" >"$at/said" 2>&1
}

git_reason() {
  local text
  text=$(<"$at/said")
  case $1:$text in
    124:*) reason="it was not there within $fetch_seconds seconds" away=yes ;;
    *"could not read Username"* | *"Authentication failed"* | *"' not found"*)
      reason="there is no git repository at that address which everybody may read" ;;
    *"not valid: is this a git repository"*)
      reason="there is no git repository at that address" ;;
    *"couldn't find remote ref"* | *"unadvertised object"* | *"not our ref"* | *"single revision"*)
      reason="the repository has no branch, tag or commit ${ref:-HEAD}" ;;
    *)
      [[ $text != *"unable to access"* ]] || away=yes
      reason=$(sed -n 's/^fatal: //p' "$at/said" | head -n 1)
      reason=${reason:-git could not fetch it}
      ;;
  esac
}

# Leaves the commit in `commit`.
from_remote() {
  local status=0
  commit=FETCH_HEAD
  quiet_git fetch --quiet --no-tags --depth 1 "$url" "${ref:-HEAD}" && return 0
  status=$?
  # A server gives out no commit by a part of its id, and need not do so by the whole.
  if [[ $status != 124 && $ref =~ ^[0-9a-f]{7,40}$ ]]; then
    commit=$ref
    quiet_git fetch --quiet --force --tags "$url" '+refs/heads/*:refs/remotes/all/*' \
      && quiet_git rev-parse --verify "$ref^{commit}" && return 0
    status=$?
  fi
  git_reason "$status"
  return 1
}

# The commit of an earlier build, for a host that can't be reached now.
from_earlier() {
  [[ -n $away ]] && quiet_git rev-parse --short --verify "$kept" || return 1
  commit=$kept
  echo " !     Can't fetch $url: $reason."
  echo " !     Its commit $(<"$at/said") is used, as in an earlier build."
}

fetch_git() {
  local url=$1 ref=$2 pack=$3 at commit kept
  # One repository has all refs that were asked for, and remembers what each was.
  slot "$url"
  kept=$(printf '%s' "$ref" | sha256sum)
  kept=refs/senryu/${kept%% *}
  if [[ ! -d $at/tree/.git ]]; then
    mkdir -p "$at/tree"
    quiet_git init --quiet
  fi
  if [[ $ref =~ ^[0-9a-f]{40}$ ]] && quiet_git cat-file -e "$ref^{commit}"; then
    commit=$ref
  else
    { reachable "$url" && from_remote; } || from_earlier || return 1
  fi
  quiet_git checkout --quiet --force --detach "$commit" && quiet_git clean -qffdx \
    && quiet_git submodule update --quiet --init --recursive --force --depth 1 \
    && quiet_git update-ref "$kept" HEAD \
    && cp -R "$at/tree" "$pack" && rm -rf "$pack/.git" && return 0
  git_reason 1
  return 1
}

download() {
  local status=0 next=$url hops=0
  [[ -s $at/tar ]] || rm -f "$at/etag"
  # Each hop is looked at before it is taken.
  while [[ -n $next ]]; do
    ((hops++ < 6)) || { reason="its address is redirected too often" && return 1; }
    [[ $next == https://* ]] || { reason="it is redirected to $next" && return 1; }
    reachable "$next" || return 1
    rm -f "$at/new"
    next=$(curl --silent --show-error --fail --proto =https --connect-timeout 20 \
      --max-time "$fetch_seconds" --etag-compare "$at/etag" --etag-save "$at/etag.new" \
      --output "$at/new" --write-out '%{redirect_url}' "$next" 2>"$at/said") || status=$?
    [[ $status == 0 ]] || break
  done
  if [[ $status == 0 ]]; then
    [[ ! -s $at/etag.new ]] || mv "$at/etag.new" "$at/etag"
    # Unchanged since the last build: nothing came.
    [[ ! -s $at/new ]] || mv "$at/new" "$at/tar"
    return 0
  fi
  [[ $status == 22 ]] || away=yes
  reason=$(sed 's/^curl: ([0-9]*) //' "$at/said" | head -n 1)
  reason=${reason:-curl could not fetch it}
  return 1
}

# The tarball of an earlier build, for a host that can't be reached now.
kept_tarball() {
  [[ -n $away && -s $at/tar ]] || return 1
  echo " !     Can't fetch $url: $reason."
  echo " !     The tarball of the build before is used."
}

fetch_tarball() {
  local url=$1 pack=$2 at entries
  slot "$url"
  { reachable "$url" && download; } || kept_tarball || return 1
  mkdir -p "$pack"
  if ! tar -C "$pack" --no-same-owner -xf "$at/tar" 2>"$at/said"; then
    reason="what is there is no tar archive"
    rm -f "$at/tar" "$at/etag"
    return 1
  fi
  # Archives of repositories have one directory around everything.
  entries=("$pack"/*)
  if [[ ! -e $pack/bin && ${#entries[@]} == 1 && -d ${entries[0]}/bin ]]; then
    cp -R "${entries[0]}/." "$pack"
  fi
}
