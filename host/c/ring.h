/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The words of a ring, and how they are encoded: "A ring" of docs/layout.md. Nothing else knows any of this. */
#ifndef IVSHMEM_CHANNEL_RING_H
#define IVSHMEM_CHANNEL_RING_H

#include "words.h"

enum {
    PRODUCER_SESSION = 0x00,
    DATA_PROMISE = 0x08,
    ROOM_WISH = 0x10,
    CONSUMER_SESSION = 0x40,
    ROOM_PROMISE = 0x48,
    DATA_WISH = 0x50,
    HEAD = 0x80,
    TAIL = 0x100,
};

/* The wish of one who polls. */
#define POLLING UINT64_MAX

/* The low half of a header. */
#define LENGTH UINT32_C(0x0fffffff)
#define ALIGNED (UINT32_C(1) << 28)
#define MORE (UINT32_C(1) << 29)
#define SKIP (UINT32_C(1) << 30)
#define PRESENT (UINT32_C(1) << 31)

static inline uint32_t key_of(uint64_t session) {
    return (uint32_t)(session >> 32) * UINT32_C(0x9E3779B1) + (uint32_t)session;
}

/* Positions are stored modulo 2^32 words. */
static inline uint32_t count_of(uint64_t position) {
    return (uint32_t)(position / 8);
}

static inline uint64_t position_word(uint64_t position, uint64_t session) {
    return (uint64_t)key_of(session) << 32 | count_of(position);
}

static inline bool is_of_session(uint64_t position_word, uint64_t session) {
    return position_word >> 32 == key_of(session);
}

/* Returns how many bytes a position word is ahead of a position. */
static inline uint64_t ahead_of(uint64_t position_word, uint64_t position) {
    return (uint64_t)((uint32_t)position_word - count_of(position)) * 8;
}

static inline uint64_t header_of(uint32_t low, uint64_t position, uint64_t session) {
    return (uint64_t)(count_of(position) + key_of(session)) << 32 | PRESENT | low;
}

/* Says whether a header has the mark of the position. */
static inline bool is_header_of(uint64_t header, uint64_t position, uint64_t session) {
    return header >> 32 == (uint32_t)(count_of(position) + key_of(session)) && (header & PRESENT) != 0;
}

static inline size_t padded(size_t len) {
    return (len + 7) / 8 * 8;
}

/* Says how a payload of this length is sent; any may be received. */
static inline uint32_t alignment_of(size_t payload) {
    return payload >= 512 ? ALIGNED : 0;
}

/* Returns the position of the payload of a frame: behind the header, or at a multiple of 64. */
static inline uint64_t payload_of(uint64_t position, uint32_t alignment) {
    return alignment != 0 ? (position + 8 + 63) / 64 * 64 : position + 8;
}

static inline size_t frame_len(uint64_t position, uint32_t alignment, size_t payload) {
    return (size_t)(payload_of(position, alignment) - position) + padded(payload);
}

static inline size_t longest_payload(const struct ivc_region *region) {
    size_t longest = region->ring_len / 2 - 16;
    return alignment_of(longest) != 0 ? longest - 56 : longest;
}

static inline size_t offset_of(const struct ivc_region *region, uint64_t position) {
    return (size_t)(position & (region->ring_len - 1));
}

static inline size_t to_end(const struct ivc_region *region, uint64_t position) {
    return region->ring_len - offset_of(region, position);
}

/* Returns where in the region a position of a ring is. */
static inline size_t place_of(const struct ivc_region *region, size_t ring, uint64_t position) {
    return ring + RING_CONTROL + offset_of(region, position);
}

static inline size_t ring_at(const struct ivc_region *region, unsigned from, unsigned to) {
    size_t number = (size_t)from * (region->slots - 1) + to - (to > from ? 1 : 0);
    return slot_at(region->slots) + number * (RING_CONTROL + region->ring_len);
}

static inline const struct ivc_region *region_of(const struct ivc_connection *connection) {
    return connection->member->region;
}

static inline bool is_session(const struct ivc_region *region, size_t at, uint64_t session) {
    return load(region, at, memory_order_acquire) == session;
}

struct ivc_producer ivc_begin_producer(const struct ivc_region *region, size_t ring, uint64_t session);
struct ivc_consumer ivc_begin_consumer(const struct ivc_region *region, size_t ring, uint64_t session);

struct ivc_publisher ivc_begin_publisher(const struct ivc_region *region, size_t promise, size_t wish);
bool ivc_published(const struct ivc_region *region, struct ivc_publisher *publisher, uint64_t position);
enum ivc_wait ivc_wish_for(const struct ivc_region *region, size_t wish, size_t promise, uint64_t position);

bool ivc_is_peer(const struct ivc_connection *connection);
enum ivc_status ivc_check(struct ivc_connection *connection, size_t at, uint64_t session);
enum ivc_status ivc_give_up(struct ivc_connection *connection);
enum ivc_status ivc_corrupt(struct ivc_connection *connection);
void ivc_ring(const struct ivc_connection *connection);

#endif
