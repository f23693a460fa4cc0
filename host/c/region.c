/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The region and how it is opened: "The region" of docs/layout.md. And what a status means. */

#include "words.h"

/* The region. */
#define MAGIC UINT64_C(0x3148434d48535649) /* IVSHMCH1 */
enum {
    MAGIC_AT = 0x00,
    GEOMETRY_AT = 0x08,
    REGION_MIN = 4096,
    BLANK_END = 0x1080,
    VERSION = 1,
};

const char *ivc_text(enum ivc_status status) {
    switch (status) {
    case IVC_NOTHING: return "not now";
    case IVC_DONE: return "done";
    case IVC_BAD_MEMORY: return "the memory can be no region: a power of two of 4096 bytes or more, aligned to 8, can";
    case IVC_NOT_FORMATTED: return "the memory is blank; one of the peers has to format it";
    case IVC_FOREIGN: return "the memory holds something else";
    case IVC_UNKNOWN_VERSION: return "the memory is formatted by another version of the layout";
    case IVC_WRONG_SIZE: return "the memory is formatted for another size; map all of it";
    case IVC_DOES_NOT_FIT: return "2 to 256 slots and rings of 256 bytes to 512 MiB are possible, as far as they fit";
    case IVC_FULL: return "all slots are taken";
    case IVC_NO_PEER: return "nobody is there to connect to";
    case IVC_TOO_LONG: return "the message is longer than the buffer";
    case IVC_EVICTED: return "others took this member for dead, or formatted the region anew; join again";
    case IVC_PEER_GONE: return "the peer has left";
    case IVC_PEER_RESTARTED: return "the peer has restarted; connect to its new incarnation";
    case IVC_CORRUPT: return "the peer wrote what the layout does not allow";
    }
    return "unknown";
}

/* Takes over a geometry if it is sound. */
static bool take_geometry(struct ivc_region *region, uint64_t word) {
    unsigned version = word & 0xff;
    unsigned size_log2 = word >> 8 & 0xff;
    unsigned ring_log2 = word >> 16 & 0xff;
    unsigned slots = (word >> 24 & 0xff) + 1;
    unsigned epoch = (unsigned)(word >> 48);
    bool others = (word >> 32 & 0xffff) != 0;
    if (version != VERSION || size_log2 < 12 || size_log2 > 62 || ring_log2 < 8 || ring_log2 > 29 || slots < 2 || epoch == 0 ||
        others) {
        return false;
    }
    /* At most 256 * 255 rings of 2^30 bytes: this does not overflow. */
    uint64_t rings = (uint64_t)slots * (slots - 1) * (RING_CONTROL + (UINT64_C(1) << ring_log2));
    if (slot_at(slots) + rings > UINT64_C(1) << size_log2) {
        return false;
    }
    region->geometry = word;
    region->ring_len = (size_t)1 << ring_log2;
    region->slots = slots;
    region->epoch = epoch;
    return true;
}

static unsigned log2_of(size_t len) {
    unsigned log2 = 0;
    while (len >> log2 > 1) {
        log2++;
    }
    return log2;
}

static bool is_blank(const struct ivc_region *region) {
    size_t end = region->len < BLANK_END ? region->len : BLANK_END;
    for (size_t at = GEOMETRY_AT + 8; at < end; at += 8) {
        if (load(region, at, memory_order_relaxed) != 0) {
            return false;
        }
    }
    return true;
}

static enum ivc_status look(struct ivc_region *region) {
    uint64_t magic = load(region, MAGIC_AT, memory_order_acquire);
    if (magic != 0 && magic != MAGIC) {
        return IVC_FOREIGN;
    }
    bool blank = magic == 0 && is_blank(region);
    uint64_t word = load(region, GEOMETRY_AT, memory_order_acquire);
    if (word == 0 && blank) {
        return IVC_NOT_FORMATTED;
    }
    if (word == 0 && !exchange(region, GEOMETRY_AT, 0, 0)) {
        /* Whoever formats it meanwhile was seen in a slot, but not yet here. */
        word = load(region, GEOMETRY_AT, memory_order_acquire);
    }
    if (!take_geometry(region, word)) {
        unsigned version = word & 0xff;
        return magic == MAGIC && version != 0 && version != VERSION ? IVC_UNKNOWN_VERSION : IVC_FOREIGN;
    }
    if ((word >> 8 & 0xff) != log2_of(region->len)) {
        return IVC_WRONG_SIZE;
    }
    if (magic == 0) {
        store(region, MAGIC_AT, MAGIC, memory_order_release);
    }
    return IVC_DONE;
}

enum ivc_status ivc_open(struct ivc_region *region, void *memory, size_t len, unsigned slots, unsigned ring_log2) {
    if (len < REGION_MIN || (len & (len - 1)) != 0 || (uintptr_t)memory % 8 != 0) {
        return IVC_BAD_MEMORY;
    }
    *region = (struct ivc_region){.base = memory, .len = len};
    enum ivc_status status = look(region);
    if (status != IVC_NOT_FORMATTED || slots == 0) {
        return status;
    }
    struct ivc_region format = *region;
    uint64_t word = VERSION | (uint64_t)log2_of(len) << 8 | (uint64_t)(ring_log2 & 0xff) << 16 |
                    (uint64_t)((slots - 1) & 0xff) << 24 | UINT64_C(1) << 48;
    if (slots > IVC_SLOTS_MAX || ring_log2 > 29 || !take_geometry(&format, word)) {
        return IVC_DOES_NOT_FIT;
    }
    /* Whoever is slower gets the format of the first. */
    (void)exchange(region, GEOMETRY_AT, 0, word);
    return look(region);
}

bool ivc_is_current(const struct ivc_region *region) {
    return load(region, GEOMETRY_AT, memory_order_relaxed) == region->geometry;
}
