-- SPDX-License-Identifier: MIT OR Apache-2.0
-- Dissector of the frames that `ivshmem dump --pcap` writes (link type USER0), for Wireshark and tshark.

local ivshmem = Proto("ivshmem", "Frame of an ivshmem channel")

local version = ProtoField.uint8("ivshmem.version", "Version")
local more = ProtoField.bool("ivshmem.more", "Goes on in the next frame", 8, nil, 0x01)
local given_back = ProtoField.bool("ivshmem.given_back", "Room was given back", 8, nil, 0x02)
local from = ProtoField.uint16("ivshmem.from", "Slot of the sender")
local to = ProtoField.uint16("ivshmem.to", "Slot of the receiver")
local source = ProtoField.uint32("ivshmem.source", "Incarnation of the sender")
local destination = ProtoField.uint32("ivshmem.destination", "Incarnation of the receiver")
local position = ProtoField.uint64("ivshmem.position", "Position")

ivshmem.fields = { version, more, given_back, from, to, source, destination, position }

local HEADER = 24
local data = Dissector.get("data")

function ivshmem.dissector(buffer, packet, root)
    if buffer:len() < HEADER or buffer(0, 1):uint() ~= 1 then
        return 0
    end
    local tree = root:add(ivshmem, buffer(0, HEADER))
    tree:add_le(version, buffer(0, 1))
    tree:add_le(more, buffer(1, 1))
    tree:add_le(given_back, buffer(1, 1))
    tree:add_le(from, buffer(2, 2))
    tree:add_le(to, buffer(4, 2))
    tree:add_le(source, buffer(8, 4))
    tree:add_le(destination, buffer(12, 4))
    tree:add_le(position, buffer(16, 8))
    packet.cols.protocol = "ivshmem"
    packet.cols.src = "slot " .. buffer(2, 2):le_uint()
    packet.cols.dst = "slot " .. buffer(4, 2):le_uint()
    packet.cols.info = (buffer:len() - HEADER) .. " bytes at " .. tostring(buffer(16, 8):le_uint64())
    if buffer:len() > HEADER then
        data:call(buffer(HEADER):tvb(), packet, root)
    end
    return buffer:len()
end

DissectorTable.get("wtap_encap"):add(wtap.USER0, ivshmem)
