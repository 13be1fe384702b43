#!/bin/sh
# Installs Lifeboat's agent from the appliance that this script came from, and enrols this server there:
#
#   curl -fsS --insecure --pinnedpubkey 'sha256//@PIN@' https://@ADDRESS@/install.sh | sh -s TOKEN
#
# With "remove" instead of a token it removes the agent and all that it left. Nothing is changed unless the appliance
# accepts the token.
set -eu
umask 077

address='@ADDRESS@'
pin='@PIN@'
sha256='@SHA256@'
agent=/usr/local/sbin/lifeboat-agent
unit=/etc/systemd/system/lifeboat-agent.service
state=/var/lib/lifeboat-agent
new=$agent.new

say() {
    printf '%s\n' "$*"
}

die() {
    printf 'lifeboat: %s\n' "$*" >&2
    exit 1
}

has_systemd() {
    [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1
}

# fetch PATH FILE: only from whoever holds the key that this script was fetched from.
fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl --fail --silent --show-error --retry 3 --connect-timeout 20 --insecure \
            --pinnedpubkey "sha256//$pin" --output "$2" "https://$address$1"
    elif command -v wget >/dev/null 2>&1; then
        wget --quiet --tries=3 --timeout=20 --no-check-certificate \
            --pinnedpubkey="sha256//$pin" --output-document="$2" "https://$address$1"
    else
        die "neither curl nor wget is here: install one of them, and run the line again"
    fi
}

unit_text() {
    cat <<'UNIT'
@UNIT@
UNIT
}

install_agent() {
    case $(uname -s)-$(uname -m) in
        Linux-x86_64) ;;
        *) die "the agent is for Linux on x86-64, and this is $(uname -s) on $(uname -m): use the appliance's stick instead" ;;
    esac
    mkdir -p "${agent%/*}"
    trap 'rm -f "$new"' EXIT
    trap 'exit 1' HUP INT TERM
    rm -f "$new"
    fetch /agent "$new" || die "the agent could not be fetched from $address: see that this server reaches it"
    printf '%s  %s\n' "$sha256" "$new" | sha256sum -c - >/dev/null 2>&1 ||
        die "what $address gave is not its agent: run the line that its page shows now"
    chmod 0755 "$new"
    command -v restorecon >/dev/null 2>&1 && restorecon "$new" >/dev/null 2>&1
    # Before anything is replaced: where the appliance refuses, everything stays as it was.
    "$new" enrol "$1" || exit 1
    mv -f "$new" "$agent"
    command -v restorecon >/dev/null 2>&1 && restorecon "$agent" >/dev/null 2>&1
    if has_systemd; then
        unit_text >"$unit"
        chmod 0644 "$unit"
        systemctl daemon-reload
        systemctl --quiet enable lifeboat-agent.service
        systemctl restart lifeboat-agent.service
        "$agent" install || say "After every start of this machine its disks are compared. To try again: $agent install"
        say "Lifeboat's agent runs. See how it fares: systemctl status lifeboat-agent"
    else
        say "There is no systemd here. As root, now and at every start of the machine, and again when it ends, have your init start"
        say "    nice -n 19 ionice -c 3 $agent run"
        say "Lifeboat's agent is installed, and this server is enrolled. It does not run yet."
    fi
}

remove_agent() {
    if has_systemd && [ -e "$unit" ]; then
        systemctl --quiet disable --now lifeboat-agent.service || say "the service could not be stopped"
    fi
    # What it left in the kernel, it knows best.
    if [ -x "$agent" ]; then
        "$agent" remove || say "the agent could not remove everything itself: start this machine anew to be sure"
    fi
    rm -f "$unit" "$agent" "$new"
    rm -rf "$state"
    if has_systemd; then
        systemctl daemon-reload
        systemctl reset-failed lifeboat-agent.service >/dev/null 2>&1 || :
    fi
    say "Lifeboat's agent is removed. Its points stay in the vault; remove the server there on the appliance's page."
}

main() {
    [ "$(id -u)" = 0 ] || die "run this as root: put sudo before sh"
    case ${1-} in
        '') die "a token is missing: run the whole line that the appliance's page shows" ;;
        remove) remove_agent ;;
        # In several words where a console had no room for it in one.
        *) install_agent "$*" ;;
    esac
}

# The last line: a script that was cut off on its way does nothing.
main "$@"
