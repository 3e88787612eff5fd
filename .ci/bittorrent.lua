-- Hands whole messages to tshark's BitTorrent dissector.
--
-- By itself that loses its place where a segment ends behind the four bytes of a
-- message's length: it takes those for a message, and all that follows for
-- "Continuation data". What is in the messages, it finds out alone.

local framing = Proto("btframing", "BitTorrent, cut into messages")
local bittorrent = Dissector.get("bittorrent.tcp")

-- Bytes of the message at `at`, as far as can be told.
local function length(tvb, at)
    local there = tvb:len() - at
    if tvb(at, 1):uint() == 19 and (there < 20 or tvb(at + 1, 19):string() == "BitTorrent protocol") then
        return 68
    end
    return there < 4 and 4 or 4 + tvb(at, 4):uint()
end

function framing.dissector(tvb, pinfo, tree)
    local at = 0
    while at < tvb:len() do
        local message = length(tvb, at)
        if at + message > tvb:len() then
            pinfo.desegment_offset = at
            pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
            break
        end
        at = at + message
    end
    if at > 0 then
        bittorrent:call(tvb(0, at):tvb(), pinfo, tree)
    end
end

DissectorTable.get("tcp.port"):add(6881, framing)
