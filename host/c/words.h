/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Words of the region and where they are: private to the implementation. */
#ifndef IVSHMEM_CHANNEL_WORDS_H
#define IVSHMEM_CHANNEL_WORDS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem-channel.h"

/* Where slots and rings are. */
enum { SLOTS_AT = 0x80, SLOT_LEN = 0x80, RING_CONTROL = 0x180 };

static_assert(sizeof(_Atomic uint64_t) == 8, "an atomic word is the word and nothing else");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "no lock is hidden beside it");

static inline uint64_t little(uint64_t value) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(value);
#else
    return value;
#endif
}

/* A word: all offsets come from a geometry that was found sound. */
static inline _Atomic uint64_t *word_at(const struct ivc_region *region, size_t at) {
    assert(at % 8 == 0 && at <= region->len - 8);
    return (_Atomic uint64_t *)(void *)(region->base + at);
}

static inline uint64_t load(const struct ivc_region *region, size_t at, memory_order order) {
    return little(atomic_load_explicit(word_at(region, at), order));
}

static inline void store(const struct ivc_region *region, size_t at, uint64_t value, memory_order order) {
    atomic_store_explicit(word_at(region, at), little(value), order);
}

static inline bool exchange(const struct ivc_region *region, size_t at, uint64_t from, uint64_t to) {
    uint64_t expected = little(from);
    return atomic_compare_exchange_strong(word_at(region, at), &expected, little(to));
}

static inline size_t slot_at(unsigned slot) {
    return SLOTS_AT + (size_t)SLOT_LEN * slot;
}

#endif
