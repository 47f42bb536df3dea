# Every sample app: cold, then with nothing changed and no network, then running.

# SAMPLE START TEXT
sample() {
  begin "sample-$1" "$1" || return 0
  seed
  [ "$(type -t "prepare_$1")" != function ] || "prepare_$1"
  build
  status_is 0
  report cold
  check "detect prints the language" grep -qx Python "$VOLUME/work/result/detected"
  check "release offers nothing" grep -qx -- '--- {}' "$VOLUME/work/result/release"
  # Static files are made of the whole source.
  if [ "$1" = django ]; then runs_always; else reads requirements.txt; fi
  remember
  store
  answers "$2" "$3"

  local before
  before=$(inodes "$VOLUME/work/cache/keep" .heroku)
  OPTIONS=(--network none)
  build
  status_is 0
  report warm
  says "Restoring cache"
  [ "$before" = "$(inodes "$VOLUME/work/build" .heroku)" ] && ok \
    || bad "a rebuild touched kept files"
  store
  answers "$2" "$3"
}

prepare_django() { config SECRET_KEY "only for tests"; }

sample flask "gunicorn app:app -b :5000" "flask v7 web.1 concurrency 2 python 3"
sample django "SECRET_KEY=x gunicorn site_wsgi -b :5000" "django v7 /static/site."
