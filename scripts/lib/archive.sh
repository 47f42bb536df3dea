# shellcheck shell=bash disable=SC2154
# Sourced by scripts/stack: both images as one archive, for the day when Docker has lost them. It
# stands apart because it is no part of the recipe: a change here makes no new stack.

# What the archive holds: its recipe and the ids of both images.
content() { docker image inspect -f '{{.Id}}' "$RUN_IMAGE" "$BUILD_IMAGE"; echo "$RECIPE"; }

# Also when only the archive is missing, or is of a stack that was made again.
keep_archive() {
  [ -n "$ARCHIVE" ] || return 0
  if [ -s "$ARCHIVE" ] && [ "$(cat "$ARCHIVE.content" 2>/dev/null)" = "$(content)" ]; then
    return 0
  fi
  step_begin
  [ -d "$(dirname "$ARCHIVE")" ] || install -d -m 0700 "$(dirname "$ARCHIVE")"
  docker save "$RUN_IMAGE" "$BUILD_IMAGE" | gzip -1 >"$ARCHIVE.new"
  content >"$ARCHIVE.content"
  mv "$ARCHIVE.new" "$ARCHIVE"
  step_end "Kept both images in $ARCHIVE, $(du -m "$ARCHIVE" | cut -f1) MB"
}

load_archive() {
  # One of another recipe would only be in the way.
  if [ "$FORCE" = yes ] || [ -z "$ARCHIVE" ] || [ ! -s "$ARCHIVE" ] \
    || [ "$(tail -n 1 "$ARCHIVE.content" 2>/dev/null)" != "$RECIPE" ]; then
    return 0
  fi
  step_begin
  if docker load -q -i "$ARCHIVE" >/dev/null; then step_end "Loaded both images from $ARCHIVE"; fi
}
