/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The consumer of a ring: "Sessions" and "To receive" of docs/layout.md. */

#include <string.h>

#include "ring.h"

/* After so many looks without arming a receiver says that it polls. */
enum { PATIENCE = 32, FRAMES_PER_CALL = 1024 };
/* After so many looks one who polls finds out whether there should be something. */
enum { LOOKS_FOR_HEAD = 1024 };

struct ivc_consumer ivc_begin_consumer(const struct ivc_region *region, size_t ring, uint64_t session) {
    store(region, ring + CONSUMER_SESSION, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    store(region, ring + TAIL, position_word(0, session), memory_order_relaxed);
    struct ivc_consumer consumer = {.ring = ring, .session = session, .patience = PATIENCE};
    consumer.room = ivc_begin_publisher(region, ring + ROOM_PROMISE, ring + ROOM_WISH);
    store(region, ring + DATA_WISH, 0, memory_order_relaxed);
    store(region, ring + CONSUMER_SESSION, session, memory_order_release);
    return consumer;
}

/* A payload: the peer may write meanwhile, so that it too is copied by atomic words. */
static void copy_out(const struct ivc_region *region, size_t at, unsigned char *to, size_t len) {
    while (len > 0) {
        size_t step = len < 8 ? len : 8;
        uint64_t word = atomic_load_explicit(word_at(region, at), memory_order_relaxed);
        memcpy(to, &word, step);
        at += 8;
        to += step;
        len -= step;
    }
}

struct frame {
    size_t payload;
    size_t len;
    size_t whole; /* with its header */
    bool more;
};

/* What the producer wrote is wrong: because another one has come, or by its own fault. */
static enum ivc_status blame(struct ivc_connection *connection) {
    struct ivc_consumer *consumer = &connection->consumer;
    atomic_thread_fence(memory_order_acquire);
    if (!is_session(region_of(connection), consumer->ring + PRODUCER_SESSION, consumer->session)) {
        return ivc_give_up(connection);
    }
    return ivc_corrupt(connection);
}

/* Checks that what was read is of this session. */
static enum ivc_status verify(struct ivc_connection *connection) {
    struct ivc_consumer *consumer = &connection->consumer;
    atomic_thread_fence(memory_order_acquire);
    bool same = is_session(region_of(connection), consumer->ring + PRODUCER_SESSION, consumer->session);
    return same ? IVC_DONE : ivc_give_up(connection);
}

/* Makes known how far the consumer has come. */
static void publish(struct ivc_connection *connection) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_consumer *consumer = &connection->consumer;
    size_t at = consumer->ring + TAIL;
    uint64_t word = position_word(consumer->position, consumer->session);
    if (consumer->published != consumer->position) {
        consumer->published = consumer->position;
        store(region, at, word, memory_order_release);
        if (ivc_published(region, &consumer->room, consumer->position)) {
            ivc_ring(connection);
        }
    } else if (load(region, at, memory_order_relaxed) != word) {
        store(region, at, word, memory_order_release);
    }
}

/* Looks at the own position. */
static enum ivc_status peek(struct ivc_connection *connection, struct frame *frame) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_consumer *consumer = &connection->consumer;
    if (!consumer->begun) {
        consumer->begun = is_session(region, consumer->ring + PRODUCER_SESSION, consumer->session);
        if (!consumer->begun) {
            return IVC_NOTHING;
        }
    }
    for (int skips = 0; skips < 2; skips++) {
        size_t at = place_of(region, consumer->ring, consumer->position);
        uint64_t header = load(region, at, memory_order_acquire);
        if (header == 0) {
            enum ivc_status status = verify(connection);
            return status == IVC_DONE ? IVC_NOTHING : status;
        }
        uint32_t low = (uint32_t)header;
        if (!is_header_of(header, consumer->position, consumer->session)) {
            return blame(connection);
        }
        size_t end = to_end(region, consumer->position);
        if (low == (PRESENT | SKIP) && end < region->ring_len) {
            consumer->position += end;
            continue;
        }
        uint32_t alignment = low & ALIGNED;
        *frame = (struct frame){
            .payload = place_of(region, consumer->ring, payload_of(consumer->position, alignment)),
            .len = low & LENGTH,
            .whole = frame_len(consumer->position, alignment, low & LENGTH),
            .more = (low & MORE) != 0,
        };
        if ((low & SKIP) != 0 || frame->len > longest_payload(region) || frame->whole > end) {
            return blame(connection);
        }
        return IVC_DONE;
    }
    return blame(connection);
}

/* Finds out whether a late store has taken a header away that was announced. */
static enum ivc_status check_head(struct ivc_connection *connection) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_consumer *consumer = &connection->consumer;
    uint64_t head = load(region, consumer->ring + HEAD, memory_order_acquire);
    uint64_t ahead = ahead_of(head, consumer->position);
    bool announced = is_of_session(head, consumer->session) && ahead > 0 && ahead <= region->ring_len;
    if (consumer->begun && announced &&
        load(region, place_of(region, consumer->ring, consumer->position), memory_order_acquire) == 0) {
        return blame(connection);
    }
    return IVC_DONE;
}

/* Looks for a frame, and if there is none, why. */
static enum ivc_status next_frame(struct ivc_connection *connection, struct frame *frame) {
    enum ivc_status status = peek(connection, frame);
    if (status != IVC_NOTHING) {
        return status;
    }
    publish(connection);
    if (ivc_is_peer(connection)) {
        bool is_due = ++connection->consumer.looks % LOOKS_FOR_HEAD == 0;
        status = is_due ? check_head(connection) : IVC_DONE;
        return status == IVC_DONE ? IVC_NOTHING : status;
    }
    /* It may have sent something and then left. */
    atomic_thread_fence(memory_order_acquire);
    status = peek(connection, frame);
    return status == IVC_NOTHING ? ivc_give_up(connection) : status;
}

static void pass(struct ivc_connection *connection, const struct frame *frame) {
    struct ivc_consumer *consumer = &connection->consumer;
    consumer->position += frame->whole;
    consumer->inside = frame->more;
    if (consumer->position - consumer->published >= region_of(connection)->ring_len / 8) {
        publish(connection);
    }
}

enum ivc_status ivc_receive(struct ivc_connection *connection, void *buffer, size_t size, size_t *len) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_consumer *consumer = &connection->consumer;
    for (int frames = 0; frames < FRAMES_PER_CALL; frames++) {
        enum ivc_status status = ivc_check(connection, consumer->ring + CONSUMER_SESSION, consumer->session);
        if (status != IVC_DONE) {
            return status;
        }
        if (consumer->patience > 0 && --consumer->patience == 0) {
            store(region, consumer->ring + DATA_WISH, POLLING, memory_order_relaxed);
        }
        struct frame frame;
        status = next_frame(connection, &frame);
        if (status != IVC_DONE) {
            return status;
        }
        if (frame.len == 0 && frame.more) {
            return blame(connection);
        }
        if (frame.len == 0 && consumer->inside) {
            /* The message was given up. */
            pass(connection, &frame);
            consumer->received = 0;
            continue;
        }
        *len = consumer->received + frame.len;
        if (*len > size) {
            return IVC_TOO_LONG;
        }
        copy_out(region, frame.payload, (unsigned char *)buffer + consumer->received, frame.len);
        status = verify(connection);
        if (status != IVC_DONE) {
            return status;
        }
        pass(connection, &frame);
        consumer->received = frame.more ? *len : 0;
        if (!frame.more) {
            return IVC_DONE;
        }
    }
    return IVC_NOTHING;
}

enum ivc_status ivc_arm_receive(struct ivc_connection *connection, enum ivc_wait *wait) {
    const struct ivc_region *region = region_of(connection);
    struct ivc_consumer *consumer = &connection->consumer;
    enum ivc_status status = ivc_check(connection, consumer->ring + CONSUMER_SESSION, consumer->session);
    if (status != IVC_DONE) {
        return status;
    }
    if (connection->is_rung) {
        consumer->patience = PATIENCE;
        size_t promise = consumer->ring + DATA_PROMISE;
        *wait = ivc_wish_for(region, consumer->ring + DATA_WISH, promise, consumer->position + 1);
    } else {
        store(region, consumer->ring + DATA_WISH, POLLING, memory_order_relaxed);
        *wait = IVC_BRIEFLY;
    }
    struct frame frame;
    status = next_frame(connection, &frame);
    if (status == IVC_NOTHING) {
        return check_head(connection);
    }
    if (status == IVC_DONE) {
        *wait = IVC_READY;
    }
    return status;
}
