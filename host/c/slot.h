/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A slot, as members and connections see it. */
#ifndef IVSHMEM_CHANNEL_SLOT_H
#define IVSHMEM_CHANNEL_SLOT_H

#include "words.h"

enum { FREE = 0, CLAIMED = 1, MEMBER = 2 };

/* A state word, as it is meant. */
struct state {
    uint64_t word;
    unsigned phase;
    bool vacant;
    uint32_t incarnation;
};

static inline uint32_t next_incarnation(uint32_t incarnation) {
    return incarnation + 1 != 0 ? incarnation + 1 : 1;
}

struct state ivc_look_at_state(const struct ivc_region *region, unsigned slot);

/* Says whether a slot's state is still this word. */
bool ivc_is_state(const struct ivc_region *region, unsigned slot, uint64_t state);
bool ivc_exchange_state(const struct ivc_region *region, unsigned slot, uint64_t from, uint64_t to);

/* Returns the state word of one who takes the slot that was looked at. */
uint64_t ivc_claimed_after(const struct ivc_region *region, const struct state *seen);

/* Reads, or shows, what belongs to one incarnation. */
bool ivc_look_at_beat(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t *beat);
void ivc_show_beat(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t beat);
bool ivc_look_at_address(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t *address);
bool ivc_look_at_identity(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t *address,
                      unsigned char name[IVC_NAME_LEN]);
void ivc_show_identity(const struct ivc_region *region, unsigned slot, uint32_t incarnation, uint32_t address,
                   const unsigned char name[IVC_NAME_LEN]);

#endif
