# bin/go-pre-compile and bin/go-post-compile of the app.

hooks_run() { # NAME
  local script=bin/$1
  [ -f "$script" ] || return 0
  headline "Running $script hook"
  chmod +x "$script"
  run_logged "$WORK_DIR/hook.log" "$script" || fail "Failed to run the $script script" "" \
    "The app's source has this script, so it is part of the build, and it ended with an error." \
    "Repair what it says above, or rename it if it is not meant for the build."
}
