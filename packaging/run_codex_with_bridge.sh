#!/usr/bin/env bash
# Runs one Codex task through a bridge of its own.
#
#   packaging/run_codex_with_bridge.sh PROMPT [codex exec arguments ...]
#
# Starts the bridge on a free port, runs "codex exec" through it as a custom provider, and stops it.
# The exit status is that of codex. Environment:
#
#   API_KEY_ENV    name of the variable that holds the upstream's key (OPENAI_API_KEY)
#   UPSTREAM_URL   the chat/completions upstream (https://api.openai.com/v1/chat/completions);
#                  one on this machine needs no key
#   BRIDGE_PORT    port of the bridge; 0 is a free one (0)
#   SERVER_INFO    server-info file of the bridge (a temporary one)
#   CODEX_BIN      codex (codex)
#   TWISTD         twistd (.venv/bin/twistd of this checkout, else twistd, else twistd3)
set -euo pipefail

usage() {
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p;}' "${BASH_SOURCE[0]}"
}

die() {
    printf 'run_codex_with_bridge: %s\n' "$1" >&2
    exit 1
}

case ${1:-} in
    '') usage >&2; exit 2 ;;
    -h | --help) usage; exit 0 ;;
esac
prompt=$1
shift

key_env=${API_KEY_ENV:-OPENAI_API_KEY}
upstream=${UPSTREAM_URL:-https://api.openai.com/v1/chat/completions}
codex=${CODEX_BIN:-codex}
# What is not a name may be a key: do not repeat it.
[[ $key_env =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || die 'API_KEY_ENV must be the name of an environment variable'
checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

find_twistd() {
    if [[ -n ${TWISTD:-} ]]; then
        printf '%s\n' "$TWISTD"
    elif [[ -x $checkout/.venv/bin/twistd ]]; then
        printf '%s\n' "$checkout/.venv/bin/twistd"
    else
        command -v twistd || command -v twistd3 || die 'neither twistd nor twistd3 is installed'
    fi
}

twistd=$(find_twistd)
command -v -- "$twistd" > /dev/null || die "cannot run $twistd (TWISTD)"
command -v -- "$codex" > /dev/null || die "cannot run $codex (CODEX_BIN)"

folder=$(mktemp -d)
log=$folder/bridge.log
info=${SERVER_INFO:-$folder/server-info.json}
bridge=
task=

stop() {
    trap - EXIT
    local process
    for process in $task $bridge; do
        kill -TERM "$process" 2> /dev/null || true
        wait "$process" 2> /dev/null || true
    done
    rm -rf -- "$folder"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

options=(--port "${BRIDGE_PORT:-0}" --upstream-url "$upstream" --api-key-env "$key_env" --server-info "$info")
# Whether the upstream really is on this machine is for the bridge to judge.
if [[ -z ${!key_env:-} && $upstream == *://@(127.|localhost|\[::1\])* ]]; then
    options+=(--no-api-key)
fi

# A file left by a bridge that was killed would name a dead port.
rm -f -- "$info"
# By itself twistd does not see the plugin of a checkout.
PYTHONPATH=$checkout${PYTHONPATH:+:$PYTHONPATH} \
    "$twistd" -n --pidfile= chatbridge "${options[@]}" > "$log" 2>&1 < /dev/null &
bridge=$!

for ((tries = 0; tries < 300; tries++)); do
    [[ ! -e $info ]] || break
    if ! kill -0 "$bridge" 2> /dev/null; then
        bridge=
        cat -- "$log" >&2
        die 'the bridge did not start'
    fi
    sleep 0.1
done
if [[ ! -e $info ]]; then
    cat -- "$log" >&2
    die 'the bridge did not open its port within 30 seconds'
fi
port=$(sed -n 's/.*"port": *\([0-9][0-9]*\).*/\1/p' "$info")
[[ -n $port ]] || die "there is no port in $info"

# In the background, since bash acts on a signal only between two foreground commands.
"$codex" exec \
    -c model_provider=chatbridge \
    -c "model_providers.chatbridge={name=\"chatbridge\",base_url=\"http://127.0.0.1:$port/v1\",wire_api=\"responses\"}" \
    "$@" -- "$prompt" <&0 &
task=$!
status=0
wait "$task" || status=$?
task=
exit "$status"
