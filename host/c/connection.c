/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Connections, and how their two sides wake each other: "Sessions" and "Waking up" of docs/layout.md. */

#include "ring.h"
#include "slot.h"

struct ivc_publisher ivc_begin_publisher(const struct ivc_region *region, size_t promise, size_t wish) {
    store(region, promise, 1, memory_order_release);
    return (struct ivc_publisher){.promise = promise, .wish = wish, .fences = true, .looked = 0};
}

/* A position has been published: says whether to ring. */
bool ivc_published(const struct ivc_region *region, struct ivc_publisher *publisher, uint64_t position) {
    if (!publisher->fences) {
        if (load(region, publisher->wish, memory_order_relaxed) == POLLING) {
            return false;
        }
        publisher->fences = true;
        store(region, publisher->promise, 1, memory_order_release);
    }
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t wish = load(region, publisher->wish, memory_order_relaxed);
    if (wish == POLLING) {
        store(region, publisher->promise, 0, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        publisher->fences = false;
        return false;
    }
    bool passed = wish > publisher->looked && wish <= position;
    publisher->looked = position;
    return passed;
}

enum ivc_wait ivc_wish_for(const struct ivc_region *region, size_t wish, size_t promise, uint64_t position) {
    store(region, wish, position, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return load(region, promise, memory_order_acquire) == 1 ? IVC_UNTIL_RUNG : IVC_BRIEFLY;
}

static bool is_own(const struct ivc_connection *connection) {
    const struct ivc_member *member = connection->member;
    return ivc_is_state(member->region, member->slot, member->state) && ivc_is_current(member->region);
}

bool ivc_is_peer(const struct ivc_connection *connection) {
    return ivc_is_state(region_of(connection), connection->slot, connection->peer);
}

/* Ends the connection, for the reason that the slots tell. */
enum ivc_status ivc_give_up(struct ivc_connection *connection) {
    if (connection->broken == IVC_NOTHING) {
        uint64_t state = load(region_of(connection), slot_at(connection->slot), memory_order_acquire);
        connection->broken = !is_own(connection)                      ? IVC_EVICTED
                             : state >> 32 != connection->peer >> 32 ? IVC_PEER_RESTARTED
                             : state != connection->peer             ? IVC_PEER_GONE
                                                                      : IVC_CORRUPT;
    }
    return connection->broken;
}

enum ivc_status ivc_corrupt(struct ivc_connection *connection) {
    connection->broken = IVC_CORRUPT;
    return IVC_CORRUPT;
}

/* The session from one incarnation to another. */
static uint64_t session_of(const struct ivc_region *region, uint64_t from, uint64_t to) {
    return (from << 32 | to) ^ (uint64_t)region->epoch << 48;
}

/* Checks before each use that this is still the connection: `at` is where the own session is. */
enum ivc_status ivc_check(struct ivc_connection *connection, size_t at, uint64_t session) {
    if (connection->broken != IVC_NOTHING) {
        return connection->broken;
    }
    if (!is_session(region_of(connection), at, session) || !is_own(connection)) {
        return ivc_give_up(connection);
    }
    return IVC_DONE;
}

void ivc_ring(const struct ivc_connection *connection) {
    if (connection->doorbell == NULL) {
        return;
    }
    if (connection->rings) {
        connection->doorbell(connection->context, connection->device, connection->vector);
    }
    /* It may have moved to another device, and listens at both. */
    uint32_t address;
    bool is_known = ivc_look_at_address(region_of(connection), connection->slot, (uint32_t)(connection->peer >> 32), &address);
    uint16_t device = (uint16_t)address, vectors = (uint16_t)(address >> 16);
    if (is_known && device != connection->device && device != IVC_NO_DEVICE && vectors > 0) {
        connection->doorbell(connection->context, device, (uint16_t)(connection->member->slot % vectors));
    }
}

enum ivc_status ivc_connect(struct ivc_connection *connection, const struct ivc_member *member, unsigned slot,
                            ivc_doorbell *doorbell, void *context) {
    const struct ivc_region *region = member->region;
    if (slot == member->slot || slot >= region->slots) {
        return IVC_NO_PEER;
    }
    if (!ivc_is_state(region, member->slot, member->state) || !ivc_is_current(region)) {
        return IVC_EVICTED;
    }
    struct state state = ivc_look_at_state(region, slot);
    uint64_t peer = state.word;
    uint32_t address;
    unsigned char name[IVC_NAME_LEN];
    if (state.phase != MEMBER || !ivc_look_at_identity(region, slot, (uint32_t)(peer >> 32), &address, name)) {
        return IVC_NO_PEER;
    }
    uint64_t own = member->state >> 32, other = peer >> 32;
    uint16_t vectors = (uint16_t)(address >> 16), device = (uint16_t)address;
    bool is_reachable = device != IVC_NO_DEVICE;
    *connection = (struct ivc_connection){
        .member = member,
        .slot = slot,
        .peer = peer,
        .is_rung = member->introduction.device != IVC_NO_DEVICE && member->introduction.vectors > 0 && is_reachable,
        .rings = is_reachable && vectors > 0,
        .device = device,
        .vector = vectors > 0 ? (uint16_t)(member->slot % vectors) : 0,
        .doorbell = doorbell,
        .context = context,
        .producer = ivc_begin_producer(region, ring_at(region, member->slot, slot), session_of(region, own, other)),
        .consumer = ivc_begin_consumer(region, ring_at(region, slot, member->slot), session_of(region, other, own)),
    };
    return IVC_DONE;
}
