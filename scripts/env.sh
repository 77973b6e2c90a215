# Sourced by every script here: the names and places they share, and how they
# speak. Nothing is created or changed by sourcing it.
# shellcheck shell=bash disable=SC2034

checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

# As root, whatever runs does so as this ordinary user.
run_user=netdata-launcher

# What `setup` downloaded, and what it installed (`unsetup` removes just that).
setup_cache=/var/cache/netdata-launcher
installed_by_us=/var/lib/netdata-launcher/installed

# What building and testing download, kept for the caller across checkouts.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/netdata-launcher

target=${CARGO_TARGET_DIR:-$checkout/target}
dist=$target/dist

is_root() { [ "$(id -u)" -eq 0 ]; }

# Progress and results, on stderr; `fail` also ends the script.
say() { printf '%s\n' "$*" >&2; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The container runtime in use; empty where there is none.
runtime() { command -v apptainer || command -v singularity || true; }

# The value of KEY in /etc/os-release.
os_release() {
    # shellcheck disable=SC1091
    (. /etc/os-release && printf '%s' "${!1:-}")
}
