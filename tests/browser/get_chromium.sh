#!/bin/sh
# Install the Chromium of the browser tests where there is none and where we may; else say what to do.
packages="chromium fonts-noto-cjk fonts-noto-color-emoji"
for name in "$BYZER_CHROMIUM" chromium chromium-browser google-chrome; do
  [ -n "$name" ] && command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ]; then may=""; elif sudo -n true 2>/dev/null; then may="sudo -n"; else may="no"; fi
if [ "$may" = no ] || ! command -v apt-get >/dev/null; then
  echo "The browser tests need Chromium, which this user cannot install here. They will fail without it." >&2
  echo "Run as root: apt-get install -y $packages    or set BYZER_CHROMIUM=/path/to/chrome" >&2
  exit 0  # all other tests run
fi
echo "== installing $packages (about 300 MB) =="
$may apt-get update -qq && $may env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null \
  || echo "Chromium could not be installed. The browser tests will fail. Run: apt-get install -y $packages" >&2
