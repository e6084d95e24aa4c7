#!/bin/bash
# Builds the Debian package from this checkout, against Debian's own Python: one chatbridge_VERSION_all.deb.
#
#   packaging/build-deb.sh [FOLDER]     FOLDER is where it goes (dist)
#
# The tests that need no reactor run during the build, unless DEB_BUILD_OPTIONS has nocheck. It builds in a temporary
# copy of what git knows, with the tree's own changes, and leaves the tree as it was. Root gets missing build
# dependencies installed; others are told which. The same commit gives the same bytes.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
out=$(mkdir -p -- "${1:-$root/dist}" && cd -- "${1:-$root/dist}" && pwd)

die() {
    printf 'build-deb: %s\n' "$1" >&2
    exit 1
}

# Whatever Python the caller has: Debian's packages belong to Debian's.
if [[ -z ${CHATBRIDGE_CLEAN_ENVIRONMENT:-} ]]; then
    exec env -i CHATBRIDGE_CLEAN_ENVIRONMENT=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="${HOME:-/}" \
        TMPDIR="${TMPDIR:-/tmp}" DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-}" DEBIAN_FRONTEND=noninteractive \
        ${SOURCE_DATE_EPOCH:+SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH"} bash "${BASH_SOURCE[0]}" "$out"
fi
unset CHATBRIDGE_CLEAN_ENVIRONMENT
umask 022

command -v dpkg-parsechangelog > /dev/null || {
    ((EUID == 0)) || die 'dpkg-dev is missing; as root: apt-get install dpkg-dev'
    apt-get -q update && apt-get -q install -y --no-install-recommends dpkg-dev
}

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/chatbridge/__init__.py")
packaged=$(dpkg-parsechangelog -l "$root/packaging/debian/changelog" -S Version)
[[ $packaged == "$version" ]] || die "packaging/debian/changelog is at $packaged, chatbridge.__version__ at $version"

folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
source=$folder/chatbridge-$version
mkdir -- "$source"

in_git() {
    # The checkout may belong to someone else.
    git -c safe.directory="$root" -C "$root" "$@"
}

if command -v git > /dev/null && [[ $(in_git rev-parse --show-toplevel 2> /dev/null) == "$root" ]]; then
    in_git ls-files -z | (cd -- "$root" && while IFS= read -r -d '' file; do
        [[ ! -e $file ]] || printf '%s\0' "$file"
    done) | tar -C "$root" --null -T - -c -f - | tar -C "$source" -x -f -
    : "${SOURCE_DATE_EPOCH:=$(in_git log -1 --format=%ct)}"
else
    # A source archive: all of it is source.
    tar -C "$root" --exclude=./dist --exclude=./build --exclude='./.*' --exclude='*.egg-info' \
        --exclude=__pycache__ --exclude=dropin.cache -c -f - . | tar -C "$source" -x -f -
    : "${SOURCE_DATE_EPOCH:=$(dpkg-parsechangelog -l "$root/packaging/debian/changelog" -S Timestamp)}"
fi
export SOURCE_DATE_EPOCH
cp -r -- "$source/packaging/debian" "$source/debian"
# What git keeps of a file is its bytes and whether it can be executed; the rest is of this checkout alone.
chmod -R u=rwX,go=rX -- "$source"
find "$source" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" -- {} +

cd -- "$source"
if ! missing=$(dpkg-checkbuilddeps 2>&1); then
    ((EUID == 0)) || die "${missing#*: }; as root: apt-get build-dep $root/packaging"
    printf 'build-deb: %s: installing them\n' "${missing#*: }" >&2
    apt-get -q update
    apt-get -q build-dep -y --no-install-recommends "$source"
fi
dpkg-buildpackage -us -uc -b

shopt -s nullglob
built=("$folder"/chatbridge_*.deb)
((${#built[@]} == 1)) || die "one package was expected, not: ${built[*]}"
rm -f -- "$out"/chatbridge_*.deb
install -m 0644 -- "${built[0]}" "$out/"
printf '%s\n' "$out/$(basename -- "${built[0]}")"
