# bin/pre_compile and bin/post_compile of the app, run where they would run on Heroku.

hooks_run() { # NAME
  local script=bin/$1
  [ -f "$script" ] || return 0
  outcome_is_of_this_build
  headline "Running $script hook"
  chmod +x "$script"
  run_logged "$WORK_DIR/hook.log" '^$^' "$script" || fail "Failed to run the $script script" "" \
    "The app's source has this script, so it is part of the build, and it ended with an error." \
    "Repair what it says above, or rename it if it is not meant for the build."
}
