# Starting clients, each at an address of its own, and waiting for what they do. Logs are
# in the current folder, which is the case's own.

TRACKER=10.77.0.1
TRANSMISSION=10.77.0.2
ARIA=10.77.0.3
# Ours.
SEED=10.77.0.4
LEECHER=10.77.0.5

TRANSMISSION6=fd77::2
SEED6=fd77::4
LEECHER6=fd77::5

PEER_PORT=6881
URL=http://$TRACKER:6969/announce

# enter_network: brings up the namespace's only interface, with everybody's address.
enter_network() {
    local address
    ip link set lo up
    for address in $TRACKER $TRANSMISSION $ARIA $SEED $LEECHER; do
        ip addr add "$address/24" dev lo
    done
    for address in $TRANSMISSION6 $SEED6 $LEECHER6; do
        ip addr add "$address/64" dev lo
    done
}

# make_content FOLDER: 64 MiB of content in FOLDER/source/album, and torrents of it: plain.torrent
# by mktorrent, and tracked.torrent by us, with the tracker's URL.
make_content() {
    local album=$1/source/album
    mkdir -p "$album/more"
    head -c $((40 * 1024 * 1024 + 1)) /dev/urandom >"$album/a.bin"
    head -c $((24 * 1024 * 1024 - 1)) /dev/urandom >"$album/more/b.bin"
    mktorrent -l 18 -o "$1/plain.torrent" "$album" >"$1/log"
    "$RESEED" create "$album" --tracker "$URL" --piece-length 262144 --out "$1/tracked.torrent" \
        >"$1/info-hash"
}

fail() {
    echo "failed: $*" >&2
    exit 1
}

# until_true SECONDS COMMAND…: waits until the command succeeds.
until_true() {
    local left=$(($1 * 10))
    shift
    until "$@"; do
        [ $((left--)) -gt 0 ] || fail "waited in vain for: $*"
        sleep 0.1
    done
}

is_listening() { (: </dev/tcp/"$1"/"$2") 2>/dev/null; }

# same FOLDER: whether FOLDER/album is the content, byte for byte.
same() { diff -r "$SHARED/source/album" "$1/album"; }

opentracker_start() {
    mkdir tracker
    cut -d: -f1 "$SHARED/info-hash" >tracker/whitelist
    chmod 755 . tracker
    opentracker -i $TRACKER -p 6969 -P 6969 -d "$PWD/tracker" -w whitelist >tracker/log 2>&1 &
    until_true 10 is_listening $TRACKER 6969
}

# transmission_start [JSON-MEMBERS]: its content goes to transmission/files.
transmission_start() {
    mkdir -p transmission/config transmission/files
    cat >transmission/config/settings.json <<JSON
{
    ${1:+$1,}
    "bind-address-ipv4": "$TRANSMISSION", "bind-address-ipv6": "$TRANSMISSION6",
    "peer-port": $PEER_PORT,
    "rpc-bind-address": "$TRANSMISSION", "rpc-whitelist-enabled": false,
    "rpc-host-whitelist-enabled": false, "rpc-authentication-required": false,
    "dht-enabled": false, "lpd-enabled": false, "utp-enabled": false,
    "port-forwarding-enabled": false, "encryption": 0,
    "download-dir": "$PWD/transmission/files"
}
JSON
    transmission-daemon --foreground --config-dir transmission/config --log-debug \
        >transmission/log 2>&1 &
    until_true 10 is_listening $TRANSMISSION 9091
}

transmission() { transmission-remote "$TRANSMISSION:9091" "$@"; }

transmission_is_complete() { transmission -t all -i | grep -q 'Percent Done: 100%'; }

# aria FOLDER ARGUMENT…: runs aria2 in the foreground.
aria() {
    local folder=$1
    shift
    mkdir -p "$folder"
    aria2c --no-conf --dir="$folder" --interface=$ARIA --listen-port=$PEER_PORT \
        --enable-dht=false --enable-dht6=false --bt-enable-lpd=false \
        --bt-min-crypto-level=plain --bt-require-crypto=false --file-allocation=none \
        --check-integrity=true --allow-overwrite=true --summary-interval=5 "$@" >>aria.log 2>&1
}

# magnet NAME: a link to the torrent of that name.
magnet() {
    echo "magnet:?xt=urn:btih:$(transmission-show "$SHARED/$1.torrent" | sed -n 's/^ *Hash: //p')"
}

# reseed_seed TORRENT ARGUMENT…: shares the content, and returns when that has begun.
reseed_seed() {
    local torrent=$1
    shift
    RUST_LOG=debug "$RESEED" seed "$torrent" --from "$SHARED/source" \
        --listen "${LISTEN-$SEED:$PEER_PORT}" "$@" \
        >seed.out 2>seed.log &
    until_true 20 grep -q '^seeding' seed.out
}

# reseed_get FOLDER TORRENT ARGUMENT…: runs in the foreground; the last line is in get.out.
reseed_get() {
    local folder=$1 torrent=$2
    shift 2
    RUST_LOG=debug "$RESEED" get "$torrent" --to "$folder" \
        --listen "${LISTEN-$LEECHER:$PEER_PORT}" "$@" \
        >get.out 2>>get.log
}
