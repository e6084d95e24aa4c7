#!/bin/sh
# Starts the bridge in the foreground for "make run".
#
#   packaging/run.sh BIN      BIN is the folder with twistd
#
# Reads CHATBRIDGE_PORT (8787), CHATBRIDGE_UPSTREAM_URL and OPENAI_API_KEY from the environment.
set -eu

bin=$1
# A key of white space is none.
OPENAI_API_KEY=$(printf %s "${OPENAI_API_KEY:-}" | tr -d '[:space:]')
export OPENAI_API_KEY
url=${CHATBRIDGE_UPSTREAM_URL:-}

set -- -n --pidfile= chatbridge --port "${CHATBRIDGE_PORT:-8787}"
if [ -n "$url" ]; then
    set -- "$@" --upstream-url "$url"
fi
if [ -z "$OPENAI_API_KEY" ]; then
    case $url in
        '')
            set -- "$@" --practice
            ;;
        *://127.* | *://localhost* | *://\[::1\]*)
            set -- "$@" --no-api-key
            ;;
        *)
            echo "chatbridge: CHATBRIDGE_UPSTREAM_URL is set, but OPENAI_API_KEY, the key for it, is not." >&2
            exit 1
            ;;
    esac
fi

exec "$bin/twistd" "$@"
