#!/usr/bin/env bash
# How quick a download is over loopback, SHA-1 checked: ours of 1 GiB from our own seed, and
# ours and aria2's of a quarter of it from transmission; the best of RUNS, since others use
# the machine too. Clients as in interop/, in a network with nothing but `lo`.
#
#   benches/interop.sh [MiB]
set -euo pipefail
cd "$(dirname "$0")/.."
. interop/clients.sh

MIB=${MIB-${1-1024}}
RUNS=${RUNS-3}
BAR=400

if [ "${1-}" != --inside ]; then
    if [ -z "${RESEED-}" ]; then
        cargo build --quiet --release -p reseed
        RESEED=target/release/reseed
    fi
    folder=$(mktemp -d)
    chmod 755 "$folder"
    trap 'rm -rf "$folder"' EXIT
    RESEED=$(realpath "$RESEED") MIB=$MIB unshare --net --pid --fork --kill-child --mount-proc \
        "$PWD/benches/interop.sh" --inside "$folder"
    exit
fi

# made NAME MIB: content of that size, and a torrent of it.
made() {
    mkdir -p "shared/source/$1"
    head -c "${2}M" /dev/urandom >"shared/source/$1/a.bin"
    "$RESEED" create "shared/source/$1" --tracker "$URL" --piece-length 1048576 \
        --out "shared/$1.torrent" >shared/info-hash
}

# timed FOLDER MIB: waits until so much content is in FOLDER, and prints at how many MB/s it
# came, from its first bytes on: for whom one waits before that is the other side's affair.
timed() {
    local total=$(($2 * 1048576)) since=$SECONDS began= now=0
    while [ "$now" -lt "$total" ]; do
        [ $((SECONDS - since)) -lt 120 ] || fail "$1 is not complete"
        sleep 0.01
        now=$(du -s --block-size=1 "$1" 2>/dev/null | cut -f1 || echo 0)
        [ -n "$began" ] || [ "${now:-0}" -lt 1048576 ] || began=$(date +%s%N)
    done
    echo $((total * 1000 / ($(date +%s%N) - began)))
}

# best COMMAND…: the highest number that RUNS calls print.
best() {
    local run
    for ((run = 0; run < RUNS; run++)); do "$@"; done | sort -n | tail -1
}

# Told by the client itself, which knows to the millisecond.
ours_from_ours() {
    rm -rf copy
    "$RESEED" get shared/own.torrent --to copy --no-tracker --peer $SEED:$PEER_PORT \
        2>>get.log >get.out
    sed -n 's/.* came in \([0-9.]*\) s,.*/\1/p' get.out |
        awk "{ print int($MIB * 1.048576 / \$1) }"
}

# A new one each time: it takes who has completed before for a seed, and parts.
transmission_seeds() {
    rm -rf transmission/config
    transmission_start >&2
    seeding=$!
    transmission --add shared/album.torrent >/dev/null
    until_true 120 transmission_is_complete
    until_true 30 grep -q 'Announce response' transmission/log
}

ours_from_transmission() {
    transmission_seeds
    rm -rf copy
    mkdir copy
    "$RESEED" get shared/album.torrent --to copy --no-tracker \
        --listen $LEECHER:$PEER_PORT --peer $TRANSMISSION:$PEER_PORT >get.out 2>>get.log &
    timed copy "$QUARTER"
    wait $!
    kill "$seeding"
    wait "$seeding" || true
}

aria_from_transmission() {
    transmission_seeds
    rm -rf aria
    mkdir aria
    aria aria --seed-time=0 shared/album.torrent &
    timed aria "$QUARTER"
    wait $!
    kill "$seeding"
    wait "$seeding" || true
}

enter_network
cd "$2"
SHARED=$PWD/shared
made own "$MIB"
reseed_seed shared/own.torrent --no-tracker
own=$(best ours_from_ours)
kill -INT $!
printf '%-28s %5d MB/s   (bar: %d)\n' 'reseed from reseed' "$own" $BAR

# It sends some 15 MB/s, to whomever.
QUARTER=$((MIB / 4))
made album $QUARTER
opentracker_start
mkdir -p transmission/files
cp -r shared/source/album transmission/files/
ours=$(best ours_from_transmission)
theirs=$(best aria_from_transmission)
printf '%-28s %5d MB/s\n' 'reseed from transmission' "$ours"
printf '%-28s %5d MB/s\n' 'aria2 from transmission' "$theirs"
awk "BEGIN { printf \"%-28s %5.2f\\n\", \"ratio\", $ours / $theirs }"
