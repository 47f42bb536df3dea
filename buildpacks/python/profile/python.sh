# Python and the commands of the app's dependencies, for every dyno.
export PATH="$HOME/.heroku/python/bin:$PATH"
export LIBRARY_PATH="$HOME/.heroku/vendor/lib:$HOME/.heroku/python/lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
export LD_LIBRARY_PATH="$HOME/.heroku/vendor/lib:$HOME/.heroku/python/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LANG="${LANG:-C.UTF-8}"
export PYTHONUNBUFFERED=true
export PYTHONHASHSEED="${PYTHONHASHSEED:-random}"
export PYTHONPATH="${PYTHONPATH:-$HOME}"
