#!/usr/bin/env bash
# Sets up .venv: finds the toolchain, installs this package with one set of dependencies, builds the native kernel.
#
#   tools/setup.sh demo     the package and what the demonstration needs
#   tools/setup.sh dev      the package and what tests, checks and documentation need, and the servers of the tests
#   tools/setup.sh native   rebuild the native kernel only
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin:$HOME/.local/bin"

missing() { # name, why, Debian/Ubuntu command, macOS command
    {
        echo "asof: $1 was not found. $2"
        if [ "$(uname)" = Darwin ]; then echo "  Install it with:  $4"; else echo "  Install it with:  $3"; fi
        echo "  Then run the same make command again."
    } >&2
    exit 1
}

root=""
[ "$(id -u)" = 0 ] || root="sudo "
rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    missing "Python 3.11 or newer" "Asof is a Python package." \
        "${root}apt-get install -y python3 python3-venv" "brew install python@3.13"
}

find_compilers() {
    command -v cc >/dev/null || missing "A C linker (cc)" "Rust links the kernel with it." \
        "${root}apt-get install -y build-essential" "xcode-select --install"
    command -v cargo >/dev/null && command -v rustc >/dev/null ||
        missing "Rust (cargo and rustc)" "The kernel in native/ is built with it." "$rustup" "$rustup"
    local need have
    need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' native/Cargo.toml)
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n1)" = "$need" ] ||
        missing "Rust $need or newer" "The rustc on the PATH is $have." \
            "rustup update stable, or without rustup: $rustup" "rustup update stable, or without rustup: $rustup"
}

create_environment() {
    [ -x .venv/bin/python ] && return
    local python
    python=$(find_python)
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$python" .venv
        return
    fi
    "$python" -m venv .venv 2>/dev/null || {
        rm -rf .venv
        missing "Python's venv module" "$python cannot create a virtual environment." \
            "${root}apt-get install -y python3-venv" "brew install python@3.13"
    }
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
}

install() { # packages or options for the installer
    if command -v uv >/dev/null; then
        uv pip install --quiet --python .venv/bin/python "$@"
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

build() { # what to install besides the package itself, built in release mode and left editable
    local fresh=()
    command -v uv >/dev/null && fresh=(--reinstall-package asof)
    install --no-build-isolation ${fresh[@]+"${fresh[@]}"} "$@"
}

find_python >/dev/null
find_compilers
create_environment
# Nothing is built in isolation, so the build tools are installed first.
[ -x .venv/bin/maturin ] || install "maturin>=1.9,<2" "setuptools>=77"
export PATH="$PWD/.venv/bin:$PATH"
case "${1:-}" in
demo) echo "asof: installing the package with the demonstration's dependencies" && build --editable '.[demo]' ;;
dev)
    echo "asof: installing the package with the development dependencies" && build --editable . --group dev
    tools/servers.sh
    ;;
native) echo "asof: building the native kernel" && build --no-deps --editable . ;;
*) echo "usage: tools/setup.sh demo|dev|native" >&2 && exit 2 ;;
esac
