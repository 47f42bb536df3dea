# What the app is: exactly one package manager's files decide how it is installed.

MANAGER= # pip, uv, poetry or pipenv
MANIFEST= # the file that decided

project_check() {
  local path
  for path in .heroku/python .heroku/cpython; do
    if [ -e "$path" ] && [ ! -f "$path/.senryu" ]; then
      fail "The source has a folder $path" "" "This is where the build puts Python. Remove it from" \
        "git (\"git rm -r --cached $path\"), and push again."
    fi
  done
  for path in venv .venv env; do
    [ ! -f "$path/pyvenv.cfg" ] || warning "The source has a virtual environment ($path)" \
      "It is of no use here and makes the slug larger. Add it to .gitignore, and remove it from" \
      "git: git rm -r --cached $path"
  done
}

project_choose_manager() {
  local found=() list
  [ ! -f requirements.txt ] || found+=("requirements.txt (pip)")
  if [ -f Pipfile.lock ]; then
    found+=("Pipfile.lock (pipenv)")
  elif [ -f Pipfile ]; then
    fail "No Pipfile.lock was found" "" "The Pipfile alone does not say which versions to install." \
      "Run \"pipenv lock\", commit Pipfile.lock, and push again."
  fi
  [ ! -f poetry.lock ] || found+=("poetry.lock (poetry)")
  [ ! -f uv.lock ] || found+=("uv.lock (uv)")
  if [ ${#found[@]} = 0 ] && [ -f setup.py ]; then
    found+=("setup.py (pip)")
  fi
  case "${#found[@]}" in
    0) project_fail_without_manager ;;
    1) ;;
    *) printf -v list '%s, ' "${found[@]}"
      fail "Several package managers' files found: ${list%, }" "" \
        "Each lists dependencies of its own, and they can disagree. Keep those of the package" \
        "manager that you use, remove the others from git, and push again." ;;
  esac
  MANIFEST=${found[0]% (*}
  MANAGER=${found[0]##*(}
  MANAGER=${MANAGER%)}
}

project_fail_without_manager() {
  local hint="an app without dependencies needs an empty requirements.txt."
  if [ -f pyproject.toml ]; then
    hint="for this pyproject.toml that is \"uv lock\", or \"poetry lock\" if you use Poetry."
  fi
  fail "No package manager's file was found" "" \
    "A Python app has one of requirements.txt, uv.lock, poetry.lock or Pipfile.lock at the root" \
    "of its repository. Make one, commit it, and push again: $hint" "" \
    "Found at the root: $(ls -A --indicator-style=slash | grep -vx '.heroku/' | head -n 20 \
      | tr '\n' ' ')"
}
