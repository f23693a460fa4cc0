/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The words of a slot: "A slot" of docs/layout.md. Nothing else knows how they are encoded. */

#include "slot.h"

enum { STATE = 0x00, HEARTBEAT = 0x08, ADDRESS = 0x10, NAME = 0x18 };
#define VACANT (UINT64_C(1) << 8)

struct state ivc_look_at_state(const struct ivc_region *region, unsigned slot) {
    uint64_t word = load(region, slot_at(slot) + STATE, memory_order_acquire);
    struct state state = {
        .word = word, .phase = word & 0xff, .vacant = (word & VACANT) != 0, .incarnation = (uint32_t)(word >> 32)};
    bool others = (word & 0xfe00) != 0;
    if (others || state.phase > MEMBER || state.incarnation == 0 || (word >> 16 & 0xffff) != region->epoch) {
        state.phase = FREE;
        state.vacant = false;
    }
    return state;
}

/* Loads a word of a slot if it is of this incarnation. */
static bool get_half(const struct ivc_region *region, unsigned slot, size_t at, uint32_t incarnation, uint32_t *half) {
    uint64_t word = load(region, slot_at(slot) + at, memory_order_relaxed);
    *half = (uint32_t)word;
    return word >> 32 == incarnation;
}

static void put_half(const struct ivc_region *region, unsigned slot, size_t at, uint32_t incarnation, uint32_t half) {
    store(region, slot_at(slot) + at, (uint64_t)incarnation << 32 | half, memory_order_relaxed);
}

bool ivc_look_at_address(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t *address) {
    return get_half(region, slot, ADDRESS, incarnation, address);
}

/* Reads who the member of this incarnation is: all words of that or none. */
bool ivc_look_at_identity(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t *address,
                      unsigned char name[IVC_NAME_LEN]) {
    if (!ivc_look_at_address(region, slot, incarnation, address)) {
        return false;
    }
    for (unsigned i = 0; i < IVC_NAME_LEN / 4; i++) {
        uint32_t piece;
        if (!get_half(region, slot, NAME + 8 * i, incarnation, &piece)) {
            return false;
        }
        for (unsigned byte = 0; byte < 4; byte++) {
            name[4 * i + byte] = (unsigned char)(piece >> 8 * byte);
        }
    }
    return true;
}

bool ivc_is_state(const struct ivc_region *region, unsigned slot, uint64_t state) {
    return load(region, slot_at(slot) + STATE, memory_order_relaxed) == state;
}

uint64_t ivc_claimed_after(const struct ivc_region *region, const struct state *seen) {
    uint32_t incarnation = next_incarnation(seen->incarnation);
    return CLAIMED | (seen->phase == FREE ? VACANT : 0) | (uint64_t)region->epoch << 16 | (uint64_t)incarnation << 32;
}

bool ivc_exchange_state(const struct ivc_region *region, unsigned slot, uint64_t from, uint64_t to) {
    return exchange(region, slot_at(slot) + STATE, from, to);
}

bool ivc_look_at_beat(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t *beat) {
    return get_half(region, slot, HEARTBEAT, incarnation, beat);
}

void ivc_show_beat(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t beat) {
    put_half(region, slot, HEARTBEAT, incarnation, beat);
}

void ivc_show_identity(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t address,
                   const unsigned char name[IVC_NAME_LEN]) {
    for (unsigned i = 0; i <= IVC_NAME_LEN / 4; i++) {
        /* The pieces of the name follow the address. */
        uint32_t wanted = address;
        if (i > 0) {
            const unsigned char *piece = name + 4 * (i - 1);
            wanted = piece[0] | (uint32_t)piece[1] << 8 | (uint32_t)piece[2] << 16 | (uint32_t)piece[3] << 24;
        }
        uint32_t found;
        if (!get_half(region, slot, ADDRESS + 8 * i, incarnation, &found) || found != wanted) {
            put_half(region, slot, ADDRESS + 8 * i, incarnation, wanted);
        }
    }
}
