# What must work between us and others. A case fails with its first command that does.

case_seed_to_transmission() {
    transmission_start
    transmission --add "$SHARED/plain.torrent"
    reseed_seed "$SHARED/plain.torrent" --peer $TRANSMISSION:$PEER_PORT
    until_true 60 transmission_is_complete
    same transmission/files
}

case_leech_from_transmission() {
    transmission_start
    cp -r "$SHARED/source/album" transmission/files/
    transmission --add "$SHARED/plain.torrent"
    until_true 60 transmission_is_complete
    reseed_get copy "$SHARED/plain.torrent" --peer $TRANSMISSION:$PEER_PORT
    same copy
}

# It takes no peer from its user, and so finds ours by the tracker.
case_seed_to_aria() {
    opentracker_start
    reseed_seed "$SHARED/tracked.torrent"
    aria aria --seed-time=0 "$SHARED/tracked.torrent"
    same aria
}

case_leech_from_aria() {
    cp -r "$SHARED/source" aria
    aria aria --seed-ratio=0.0 "$SHARED/plain.torrent" &
    until_true 20 is_listening $ARIA $PEER_PORT
    reseed_get copy "$SHARED/plain.torrent" --peer $ARIA:$PEER_PORT
    same copy
}

# One seed that is slower than its leechers together: they get a part from each other.
case_swarm_of_three_clients() {
    opentracker_start
    transmission_start
    reseed_seed "$SHARED/tracked.torrent" --upload-limit $((6 * 1024 * 1024))
    transmission --add "$SHARED/tracked.torrent"
    aria aria --seed-time=10 "$SHARED/tracked.torrent" &
    reseed_get copy "$SHARED/tracked.torrent" --stay 30 &
    until_true 120 transmission_is_complete
    until_true 120 grep -q '^complete' get.out
    until_true 120 same aria >/dev/null
    same copy
    same transmission/files
    same aria
}

case_interrupt_and_resume() {
    local process had came
    transmission_start
    cp -r "$SHARED/source/album" transmission/files/
    transmission --add "$SHARED/plain.torrent"
    until_true 60 transmission_is_complete
    reseed_get copy "$SHARED/plain.torrent" --peer $TRANSMISSION:$PEER_PORT \
        --download-limit $((8 * 1024 * 1024)) &
    until_true 60 test -s copy/album/a.bin
    sleep 1
    process=$(pgrep -f "$RESEED get")
    kill -INT "$process"
    until_true 10 grep -q '^interrupted' get.out
    had=$(grep -o '^interrupted with [0-9]*' get.out | tr -dc 0-9)
    [ "$had" -gt 0 ] || fail 'nothing had come'
    reseed_get copy "$SHARED/plain.torrent" --peer $TRANSMISSION:$PEER_PORT
    came=$(sed -n 's/.*; \([0-9]*\) of .*/\1/p' get.out)
    [ $((had + came)) = 256 ] || fail "$had pieces were here, and $came of 256 came"
    same copy
}

# Theirs is so slow that ours gets nothing whole from it: it has to tell them of each other.
case_pex_through_transmission() {
    transmission_start '"speed-limit-down": 100, "speed-limit-down-enabled": true'
    transmission --add "$SHARED/plain.torrent"
    reseed_seed "$SHARED/plain.torrent" --peer $TRANSMISSION:$PEER_PORT
    reseed_get copy "$SHARED/plain.torrent" --peer $TRANSMISSION:$PEER_PORT
    same copy
    ! transmission_is_complete || fail 'it was not slow'
}

case_magnet_from_transmission() {
    transmission_start
    cp -r "$SHARED/source/album" transmission/files/
    transmission --add "$SHARED/plain.torrent"
    until_true 60 transmission_is_complete
    reseed_get copy "$(magnet plain)" --peer $TRANSMISSION:$PEER_PORT
    same copy
}

case_magnet_from_aria() {
    cp -r "$SHARED/source" aria
    aria aria --seed-ratio=0.0 "$SHARED/plain.torrent" &
    until_true 20 is_listening $ARIA $PEER_PORT
    reseed_get copy "$(magnet plain)" --peer $ARIA:$PEER_PORT
    same copy
}

# They have to find us by the link's tracker: neither takes a peer from its user.
case_magnets_to_transmission_and_aria() {
    opentracker_start
    reseed_seed "$SHARED/tracked.torrent"
    transmission_start
    transmission --add "$(magnet tracked)&tr=$URL"
    aria aria --seed-time=0 "$(magnet tracked)&tr=$URL"
    same aria
    until_true 120 transmission_is_complete
    same transmission/files
}

# Ours from ours, who are told of each other by a real tracker.
case_magnet_by_tracker() {
    opentracker_start
    reseed_seed "$SHARED/tracked.torrent"
    reseed_get copy "$(magnet tracked)&tr=$URL"
    same copy
}

case_udp_tracker() {
    opentracker_start
    "$RESEED" create "$SHARED/source/album" --tracker "udp://$TRACKER:6969/announce" \
        --piece-length 262144 --out udp.torrent
    reseed_seed udp.torrent
    reseed_get copy udp.torrent
    same copy
    # Who asks the same tracker over HTTP finds us, too; aria2 speaks UDP only with a DHT.
    aria aria --seed-time=0 "$SHARED/tracked.torrent"
    same aria
}

# Ours to theirs, and, told of by theirs, to ours: over IPv6 all the way.
case_seed_over_ipv6() {
    transmission_start
    transmission --add "$SHARED/plain.torrent"
    LISTEN="[$SEED6]:$PEER_PORT" \
        reseed_seed "$SHARED/plain.torrent" --peer "[$TRANSMISSION6]:$PEER_PORT"
    LISTEN="[$LEECHER6]:$PEER_PORT" \
        reseed_get copy "$SHARED/plain.torrent" --peer "[$TRANSMISSION6]:$PEER_PORT"
    same copy
    until_true 60 transmission_is_complete
    same transmission/files
    transmission -t all -ip >peers
    grep -q "^$SEED6 " peers || fail "it is not by IPv6 that transmission knows us: $(cat peers)"
}

case_leech_over_ipv6() {
    transmission_start
    cp -r "$SHARED/source/album" transmission/files/
    transmission --add "$SHARED/plain.torrent"
    until_true 60 transmission_is_complete
    LISTEN="[$LEECHER6]:$PEER_PORT" \
        reseed_get copy "$SHARED/plain.torrent" --peer "[$TRANSMISSION6]:$PEER_PORT"
    same copy
}

# Theirs is shown two pieces, and one more for each that it gets. When it has got what it
# was shown it looks only every ten seconds whether there is more, so that they are large.
case_super_seed_to_transmission() {
    "$RESEED" create "$SHARED/source/album" --piece-length 16777216 --out large.torrent
    transmission_start
    transmission --add large.torrent
    reseed_seed large.torrent --super-seed --peer $TRANSMISSION:$PEER_PORT
    until_true 100 transmission_is_complete
    same transmission/files
}

# A real tracker tells how many take part, over HTTP and UDP, and who asks takes no part.
case_scrape() {
    local told
    opentracker_start
    "$RESEED" create "$SHARED/source/album" --tracker "udp://$TRACKER:6969/announce" \
        --piece-length 262144 --out udp.torrent
    reseed_seed "$SHARED/tracked.torrent"
    for torrent in "$SHARED/tracked.torrent" udp.torrent; do
        until_true 10 scrape_tells "$torrent" '1 seeds, 0 leechers, 0 downloads'
    done
    reseed_get copy "$SHARED/tracked.torrent"
    for torrent in "$SHARED/tracked.torrent" udp.torrent; do
        until_true 10 scrape_tells "$torrent" '1 seeds, 0 leechers, 1 downloads'
    done
    told=$("$RESEED" scrape "$SHARED/plain.torrent" 2>&1) && fail "it names no tracker: $told"
    "$RESEED" scrape --json udp.torrent | grep -q '"seeds":1,"leechers":0,"downloads":1'
}

# scrape_tells TORRENT WORDS
scrape_tells() { "$RESEED" scrape "$1" | tee -a scrape.log | grep -q ": $2\$"; }

# Neither side tries to reach anybody but who was named.
case_nothing_leaves() {
    local before
    before=$(unroutable)
    (: >/dev/udp/192.0.2.1/9) 2>/dev/null && fail 'there is a way out'
    [ "$(unroutable)" -gt "$before" ] || fail 'an attempt to leave is not seen'
    before=$(unroutable)
    opentracker_start
    reseed_seed "$SHARED/tracked.torrent"
    reseed_get copy "$SHARED/tracked.torrent"
    same copy
    [ "$(unroutable)" = "$before" ] || fail 'somebody tried to leave'
}

# unroutable: packets that were to go where no way leads (count), as the kernel counts them.
unroutable() {
    awk '/^Ip: [A-Z]/ { for (i = 1; i <= NF; i++) if ($i == "OutNoRoutes") column = i }
         /^Ip: [0-9]/ { print $column }' /proc/net/snmp
}
