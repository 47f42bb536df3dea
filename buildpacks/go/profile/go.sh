# The app's programs, and the toolchain where the app asked for it, for every dyno.
if [ -d "$HOME/.heroku/go/bin" ]; then
  export GOROOT="$HOME/.heroku/go"
  export PATH="$GOROOT/bin:$PATH"
fi
export PATH="$HOME/bin:$PATH"
