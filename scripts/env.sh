# Sourced by every script here: the names and places they share, and how they
# speak. Nothing is created or changed by sourcing it.
# shellcheck shell=bash disable=SC2034

checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
scripts=$checkout/scripts

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

# The home of whoever runs things; fails where root's stand-in does not exist.
user_home() {
    if is_root; then
        local entry
        entry=$(getent passwd "$run_user") || return 1
        cut -d: -f6 <<<"$entry"
    else
        printf '%s\n' "$HOME"
    fi
}

# Runs a command as whoever runs things: as root that is the ordinary user, in
# its own home, with nothing of root's environment.
as_user() {
    if is_root; then
        (cd -- "$(user_home)" &&
            exec setpriv --reuid "$run_user" --regid "$run_user" --init-groups --inh-caps=-all --reset-env -- "$@")
    else
        "$@"
    fi
}

# Where the program is that they run: never root's checkout.
prefix() { if is_root; then printf '%s/.local\n' "$(user_home)"; else printf '%s\n' "$dist"; fi; }

# The demo's stand-ins, where they can be run.
simulated() { if is_root; then printf '%s/lib/netdata-launcher-simulated\n' "$(prefix)"; else printf '%s\n' "$dist/simulated"; fi; }

# Where their data is, and the demo's.
data_home() {
    if is_root; then printf '%s/.local/share\n' "$(user_home)"; else printf '%s\n' "${XDG_DATA_HOME:-$HOME/.local/share}"; fi
}
launcher_home() {
    if ! is_root && [ -n "${LAUNCHER_HOME:-}" ]; then printf '%s\n' "$LAUNCHER_HOME"; else printf '%s/netdata-launcher\n' "$(data_home)"; fi
}
demo_home() { printf '%s/netdata-launcher-demo\n' "$(data_home)"; }

launcher() { as_user "$(prefix)/bin/launcher" "$@"; }
