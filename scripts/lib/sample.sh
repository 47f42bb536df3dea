# shellcheck shell=bash disable=SC2034
# Sourced by scripts/up, after platform.sh: the admin, the command line's login and the sample
# app, each made unless it is there.

SAMPLE=sample
SAMPLE_DIR=$CALLER_HOME/senryu-sample
SAMPLE_URL=
ADMIN_FILE=/etc/senryu/admin

# The command line as the caller, talking to this machine's server.
cli() { as_caller env SENRYU_URL="$CONTROL_URL" "$BINARY" "$@"; }

is_logged_in() {
  cli auth:whoami >/dev/null 2>&1 \
    && as_caller git config --global --get-all "credential.$CONTROL_URL.helper" >/dev/null
}

ensure_admin() {
  local email answer password
  if is_logged_in; then
    RESULT="Logged in as $(cli auth:whoami)"
    return
  fi
  email=$(sed -n 's/^email: //p' "$ADMIN_FILE" 2>/dev/null || true)
  email=${email:-admin@$(uname -n)}
  # As root, for the server's socket; the login goes to the user who called sudo.
  answer=$(SENRYU_URL=$CONTROL_URL "$BINARY" admin:create "$email" --login \
    --socket "$ADMIN_SOCKET")
  password=$(printf '%s\n' "$answer" | grep -Ex '[^[:space:]]{12,}' | tail -1 || true)
  if [ -n "$password" ]; then
    mkdir -p "$(dirname "$ADMIN_FILE")"
    ( umask 077 && printf 'email: %s\npassword: %s\n' "$email" "$password" >"$ADMIN_FILE.new" )
    mv -f "$ADMIN_FILE.new" "$ADMIN_FILE"
    RESULT="Made the admin $email and logged in (password in $ADMIN_FILE, which only root reads)"
    return
  fi
  RESULT="Logged in as $email"
}

ensure_app() {
  RESULT="App $SAMPLE is there"
  cli apps:info -a "$SAMPLE" >/dev/null 2>&1 && return
  (cd / && cli apps:create "$SAMPLE" --no-remote)
  RESULT="Made the app $SAMPLE"
}

# Git as the caller in the sample's work tree; it never asks.
sample_git() { as_caller env GIT_TERMINAL_PROMPT=0 git -C "$SAMPLE_DIR" "$@"; }

ensure_work_tree() { # SOURCE PROCFILE
  local url=$CONTROL_URL/$SAMPLE.git
  RESULT="Work tree $SAMPLE_DIR is there"
  if ! [ -e "$SAMPLE_DIR/.git" ]; then
    make_work_tree "$@" "$url"
    RESULT="Made the work tree $SAMPLE_DIR"
  fi
  [ "$(sample_git remote get-url senryu 2>/dev/null || true)" = "$url" ] && return
  sample_git remote remove senryu 2>/dev/null || true
  sample_git remote add senryu "$url"
}

make_work_tree() { # SOURCE PROCFILE URL
  if [ -e "$SAMPLE_DIR" ] && [ -n "$(ls -A "$SAMPLE_DIR")" ]; then
    fail "$SAMPLE_DIR is in the way: it is no git work tree." \
      "Move it away, then run scripts/up again."
  fi
  as_caller mkdir -p "$SAMPLE_DIR"
  # What was pushed before goes on from there.
  if [ -n "$(as_caller env GIT_TERMINAL_PROMPT=0 git ls-remote "$3" refs/heads/main)" ]; then
    as_caller env GIT_TERMINAL_PROMPT=0 git clone -q --origin senryu -b main "$3" "$SAMPLE_DIR"
    return
  fi
  # Through a pipe, for the caller need not be allowed to read the source's folder.
  tar -C "$1" --exclude=node_modules -cf - . | as_caller tar -C "$SAMPLE_DIR" --no-same-owner -xf -
  as_caller tee "$SAMPLE_DIR/Procfile" <"$2" >/dev/null
  sample_git init -q -b main
  sample_git add -A
  sample_git -c user.name=Senryu -c user.email=senryu@localhost commit -q -m "Sample app"
}

ensure_deployed() {
  local head
  head=$(sample_git ls-remote senryu refs/heads/main)
  if [ -n "$head" ]; then
    RESULT="App $SAMPLE was pushed before"
    return
  fi
  # A work tree of an earlier installation may stand anywhere: main is what is pushed.
  sample_git push senryu main 2>&1 | tee -a "$STEP_LOG" >&3
  RESULT="Pushed $SAMPLE_DIR with git push senryu main"
}

# Asks the app on this machine itself, whatever DNS says of its name.
sample_at() { # SCHEME PORT LISTENER
  local host=${SAMPLE_URL#*//}
  host=${host%%[:/]*}
  curl -fsS -m 10 -o /dev/null --noproxy '*' "$1://$host:$2/" \
    --connect-to "$host:$2:$(local_address "$3"):${3##*:}" && return
  # Each try is a line in the app's log: not too many.
  sleep 0.3
  return 1
}

# Without TLS, for its certificate says nothing about the app.
sample_answers() { sample_at http "${LISTEN##*:}" "$LISTEN"; }

sample_answers_by_https() {
  local tls
  tls=$(setting tls_listen '')
  sample_at https "${tls##*:}" "$tls"
}

# Certificates that come by themselves take their time, and need DNS to lead here.
ensure_https() {
  RESULT="The app answers by HTTPS"
  wait_for "$([ -n "$(setting acme_directory '')" ] && echo 60 || echo 3)" sample_answers_by_https \
    && return
  RESULT="There is no certificate for $SAMPLE_URL yet that this machine trusts (senryu doctor)"
}

ensure_serving() {
  SAMPLE_URL=$(cli apps:info -a "$SAMPLE" -s | sed -n "s/^web_url='\(.*\)'$/\1/p")
  [ -n "$SAMPLE_URL" ]
  RESULT="The app answers"
  sample_answers 2>/dev/null && return
  if [ "$(cli maintenance -a "$SAMPLE")" = on ]; then
    cli maintenance:off -a "$SAMPLE"
  fi
  if cli ps:scale -a "$SAMPLE" | grep -Eq '(^| )web=0:'; then
    cli ps:scale web=1 -a "$SAMPLE"
  fi
  RESULT="The app answers again"
  # No release serves where the only one failed: waiting helps nothing.
  if ! cli ps -a "$SAMPLE" | grep -q '^No dynos'; then
    wait_for 15 sample_answers && return
    # It may wait out a pause between two crashes.
    cli ps:restart -a "$SAMPLE" || true
    wait_for 30 sample_answers && return
  fi
  # Its image may have gone: build it anew.
  redeploy
  wait_for 30 sample_answers || fail "The app $SAMPLE does not answer at $SAMPLE_URL" \
    "See \"senryu ps -a $SAMPLE\" and \"senryu logs -a $SAMPLE\"."
}

redeploy() {
  sample_git -c user.name=Senryu -c user.email=senryu@localhost \
    commit -q --allow-empty -m "Deploy again"
  sample_git push senryu HEAD:main 2>&1 | tee -a "$STEP_LOG" >&3
}
