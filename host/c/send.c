/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The producer of a ring: "Sessions" and "To send" of docs/layout.md. */

#include <string.h>

#include "ring.h"

struct ivc_producer ivc_begin_producer(const struct ivc_region *region, size_t ring, uint64_t session) {
    store(region, ring + PRODUCER_SESSION, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    store(region, ring + RING_CONTROL, 0, memory_order_relaxed);
    store(region, ring + HEAD, position_word(0, session), memory_order_relaxed);
    struct ivc_producer producer = {.ring = ring, .session = session};
    producer.data = ivc_begin_publisher(region, ring + DATA_PROMISE, ring + DATA_WISH);
    store(region, ring + ROOM_WISH, POLLING, memory_order_relaxed);
    store(region, ring + PRODUCER_SESSION, session, memory_order_release);
    return producer;
}

/* A payload: the peer may write meanwhile, so that it too is copied by atomic words. */
static void copy_in(const struct ivc_region *region, size_t at, const unsigned char *from, size_t len) {
    while (len > 0) {
        size_t step = len < 8 ? len : 8;
        uint64_t word = 0;
        memcpy(&word, from, step);
        atomic_store_explicit(word_at(region, at), word, memory_order_relaxed);
        at += 8;
        from += step;
        len -= step;
    }
}

static size_t free_bytes(const struct ivc_connection *connection) {
    const struct ivc_producer *producer = &connection->producer;
    return region_of(connection)->ring_len - (size_t)(producer->position - producer->tail);
}

/* Returns the bytes that are skipped before a frame; `*need` is what must be free for it. */
static size_t skipped_before(const struct ivc_connection *connection, size_t len, size_t *need) {
    uint64_t position = connection->producer.position;
    uint32_t alignment = alignment_of(len);
    size_t end = to_end(region_of(connection), position);
    size_t skipped = frame_len(position, alignment, len) > end ? end : 0;
    *need = skipped + frame_len(position + skipped, alignment, len) + 8;
    return skipped;
}

/* Looks how far the consumer has come. */
static enum ivc_status refresh(struct ivc_connection *connection) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_producer *producer = &connection->producer;
    uint64_t word = load(region, producer->ring + TAIL, memory_order_acquire);
    if (!is_of_session(word, producer->session)) {
        /* A late store of somebody before; or the consumer has not come yet, or has gone. */
        bool gone = producer->met && !is_session(region, producer->ring + CONSUMER_SESSION, producer->session);
        return gone ? ivc_give_up(connection) : IVC_DONE;
    }
    producer->met = true;
    uint64_t step = ahead_of(word, producer->tail);
    if (step > producer->position - producer->tail) {
        return ivc_corrupt(connection);
    }
    producer->tail += step;
    return IVC_DONE;
}

/* Looks for room: IVC_DONE or IVC_NOTHING. */
static enum ivc_status find_room(struct ivc_connection *connection, size_t len) {
    size_t need;
    (void)skipped_before(connection, len, &need);
    if (need <= free_bytes(connection)) {
        return IVC_DONE;
    }
    enum ivc_status status = refresh(connection);
    if (status != IVC_DONE || need <= free_bytes(connection)) {
        return status;
    }
    return ivc_is_peer(connection) ? IVC_NOTHING : ivc_give_up(connection);
}

/* Sends one frame if there is room. */
static enum ivc_status send_frame(struct ivc_connection *connection, const unsigned char *payload, size_t len, bool more) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_producer *producer = &connection->producer;
    enum ivc_status status = ivc_check(connection, producer->ring + PRODUCER_SESSION, producer->session);
    if (status == IVC_DONE) {
        status = find_room(connection, len);
    }
    if (status != IVC_DONE) {
        return status;
    }
    size_t need;
    uint64_t start = producer->position, frame = start + skipped_before(connection, len, &need);
    uint32_t alignment = alignment_of(len);
    uint64_t next = frame + frame_len(frame, alignment, len);
    uint64_t header = header_of((uint32_t)len | alignment | (more ? MORE : 0), frame, producer->session);

    copy_in(region, place_of(region, producer->ring, payload_of(frame, alignment)), payload, len);
    store(region, place_of(region, producer->ring, next), 0, memory_order_relaxed);
    if (frame != start) {
        store(region, place_of(region, producer->ring, frame), header, memory_order_relaxed);
        header = header_of(SKIP, start, producer->session);
    }
    store(region, place_of(region, producer->ring, start), header, memory_order_release);
    store(region, producer->ring + HEAD, position_word(next, producer->session), memory_order_release);
    producer->position = next;
    producer->inside = more;
    if (ivc_published(region, &producer->data, next)) {
        ivc_ring(connection);
    }
    return IVC_DONE;
}

enum ivc_status ivc_send(struct ivc_connection *connection, const void *message, size_t len, size_t *sent) {
    size_t longest = longest_payload(region_of(connection));
    if (*sent == 0 && connection->producer.inside) {
        /* The message before was given up. */
        enum ivc_status status = send_frame(connection, NULL, 0, false);
        if (status != IVC_DONE) {
            return status;
        }
    }
    /* One frame; or several, of which the peer reads one while the next is written. */
    size_t most = len <= longest ? longest : longest / 2;
    do {
        size_t part = len - *sent < most ? len - *sent : most;
        bool more = part < len - *sent;
        enum ivc_status status = send_frame(connection, (const unsigned char *)message + *sent, part, more);
        if (status != IVC_DONE) {
            return status;
        }
        *sent += part;
    } while (*sent < len);
    return IVC_DONE;
}

enum ivc_status ivc_arm_send(struct ivc_connection *connection, size_t len, enum ivc_wait *wait) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_producer *producer = &connection->producer;
    enum ivc_status status = ivc_check(connection, producer->ring + PRODUCER_SESSION, producer->session);
    if (status != IVC_DONE) {
        return status;
    }
    size_t longest = longest_payload(region);
    len = len <= longest ? len : longest / 2;
    *wait = IVC_BRIEFLY;
    size_t need;
    (void)skipped_before(connection, len, &need);
    uint64_t end = producer->position + need;
    if (connection->is_rung && end > region->ring_len) {
        size_t promise = producer->ring + ROOM_PROMISE;
        *wait = ivc_wish_for(region, producer->ring + ROOM_WISH, promise, end - region->ring_len);
    }
    status = find_room(connection, len);
    if (status == IVC_DONE) {
        *wait = IVC_READY;
    }
    return status == IVC_NOTHING ? IVC_DONE : status;
}
