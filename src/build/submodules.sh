#!/bin/bash
# shellcheck disable=SC2154,SC2034
# Installs the source's git submodules, inside the build container; the driver sources this. They
# are checked out beside the source and put into it without any .git. Their repositories stay on
# the app's volume, so that a commit which is there is not fetched again.
modules=/work/submodules
modules_at=/tmp/submodules

# Git in one level of submodules: the source's own repository lies elsewhere.
level_git() {
  local at=$1
  shift
  if [[ $at == "$modules_at" ]]; then
    set -- --git-dir="$modules" --work-tree="$at" "$@"
  fi
  (
    cd "$at" || exit 1
    GIT_ALLOW_PROTOCOL=https GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1 \
      GIT_CONFIG_GLOBAL=/dev/null timeout "$fetch_seconds" git "$@"
  )
}

# What git says, without the passwords that addresses may hold.
tell() {
  sed -u -e "s#$modules_at/##g" -e 's#://[^/@ ]*@#://#g' -e 's/^/       /'
}

refuse_module() {
  local shown=$1
  [[ $shown != *://*@* ]] || shown=${shown%%://*}://${shown#*@}
  echo " !     Git submodule $2 can't be fetched from $shown: $3."
  return 1
}

check_module() {
  local path=$1 url=$2
  case $url in
    https://*) reachable "$url" || refuse_module "$url" "$path" "$reason" ;;
    ./* | ../*)
      refuse_module "$url" "$path" "that is relative to the app's own repository, beside which \
there is no other. Give the https:// address" ;;
    *) refuse_module "$url" "$path" "submodules are fetched by https:// only" ;;
  esac
}

# The submodules of .gitmodules in a directory: name, path and address of each, as arguments of
# `check_module`. Addresses are looked at before git goes there.
check_level() {
  local at=$1 source=$2 key url path
  while IFS= read -r -d '' key; do
    url=${key#*$'\n'} key=${key%%$'\n'*}
    path=$(git config --file "$at/.gitmodules" "${key%.url}.path") || path=${key#submodule.}
    # Deeper ones may be relative: git has made whole addresses of them.
    check_module "$path" "$url" || return 1
  done < <(level_git "$at" config --no-includes ${source:+--file "$source"} --null \
    --get-regexp '^submodule\..*\.url$')
}

install_level() {
  local at=$1 depth=$2 entry path
  if [[ $depth -gt 10 ]]; then
    echo " !     Git submodules lie more than 10 deep in one another."
    return 1
  fi
  [[ $at != "$modules_at" ]] || check_level "$at" "$at/.gitmodules" || return 1
  { level_git "$at" submodule init 2>&1 && level_git "$at" submodule --quiet sync 2>&1; } | tell
  [[ ${PIPESTATUS[0]} == 0 ]] && check_level "$at" '' || return 1
  update_level "$at" || return 1
  while IFS= read -r -d '' entry; do
    path=$at/${entry#*$'\t'}
    if [[ $entry == 160000\ * && -e $path/.git && -f $path/.gitmodules ]]; then
      install_level "$path" $((depth + 1)) || return 1
    fi
  done < <(level_git "$at" ls-files --stage -z)
}

update_level() {
  local at=$1 said=/tmp/submodules.said
  level_git "$at" submodule update --force --depth 1 2>&1 | tee "$said" | tell
  [[ ${PIPESTATUS[0]} != 0 ]] || return 0
  # Some servers give out a commit only along with the branch that it is on.
  grep -qE 'unadvertised|not our ref|did not contain|Unable to find current' "$said" || return 1
  level_git "$at" submodule foreach --quiet 'git fetch --quiet --unshallow || true' 2>&1 | tell
  level_git "$at" submodule update --force 2>&1 | tell
  [[ ${PIPESTATUS[0]} == 0 ]]
}

# The time of the commit and what git's index takes, from the server; nothing if there are none.
install_submodules() {
  local list=/work/result/submodules time
  if [[ ! -s $list ]]; then
    rm -rf "${modules:?}"/*
    return 0
  fi
  echo "Git submodules detected, installing:"
  mkdir -p "$modules_at"
  cp -P .gitmodules "$modules_at/.gitmodules" || return 1
  # Git would fetch from the address where it has found one before.
  cmp -s .gitmodules "$modules/gitmodules" || rm -rf "${modules:?}"/*
  rm -rf "$modules/config" "$modules/index"
  git -c init.defaultBranch=main --git-dir="$modules" init --quiet || return 1
  {
    IFS= read -r -d '' time && level_git "$modules_at" update-index -z --index-info
  } <"$list" || return 1
  if ! install_level "$modules_at" 1; then
    # Whatever was wrong with what is kept, the next build starts anew.
    rm -rf "${modules:?}"/*
    return 1
  fi
  mv "$modules_at/.gitmodules" "$modules/gitmodules"
  find "$modules_at" -name .git -prune -exec rm -rf {} +
  ignore_of_submodules
  find "$modules_at" -exec touch --no-dereference --date="@$time" {} +
  cp -a "$modules_at/." . && rm -rf "$modules_at"
}

# `.slugignore` holds for what lies in submodules too.
ignore_of_submodules() {
  local none=/tmp/submodules.none
  [[ -f .slugignore && ! -L .slugignore ]] || return 0
  git -c init.defaultBranch=main --git-dir="$none" init --quiet
  sed -e '/^[[:space:]]*!/d' -e 's/^[[:space:]]*//; s/[[:space:]]*$//' .slugignore >"$none/list"
  (
    cd "$modules_at" || exit
    git --git-dir="$none" --work-tree=. ls-files --others --ignored --directory -z \
      --exclude-from="$none/list" | xargs -0 --no-run-if-empty rm -rf --
  )
}
