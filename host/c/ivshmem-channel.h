/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Channels in the shared memory of ivshmem, in C11: a second implementation of docs/layout.md, written from that document.
 *
 * Nothing here allocates, sleeps or reads a clock. The memory may be written by others at any time, with anything: a value is
 * read once, checked, and the copy is used; whatever it is, no access leaves the region and no call loops without bound.
 * All objects are the caller's and are used by one thread at a time. None may be moved while a later one points to it.
 */
#ifndef IVSHMEM_CHANNEL_H
#define IVSHMEM_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IVC_SLOTS_MAX = 256,
    IVC_NAME_LEN = 32,
    IVC_NO_DEVICE = 0xffff,
};

/* What calls return: IVC_NOTHING or IVC_DONE, or why not. */
enum ivc_status {
    IVC_NOTHING = 0, /* not now: call again, later */
    IVC_DONE = 1,

    IVC_BAD_MEMORY = -1,      /* the memory can be no region: its size, or its alignment */
    IVC_NOT_FORMATTED = -2,   /* it is blank */
    IVC_FOREIGN = -3,         /* it holds something else */
    IVC_UNKNOWN_VERSION = -4, /* it is of another version of the layout */
    IVC_WRONG_SIZE = -5,      /* it is formatted for another size */
    IVC_DOES_NOT_FIT = -6,    /* the format is out of range, or too large for the memory */
    IVC_FULL = -7,            /* all slots are taken by members that live */
    IVC_NO_PEER = -8,         /* the slot is the own one, is none, or nobody is there */
    IVC_TOO_LONG = -9,        /* the message is longer than the buffer; it is still there */

    IVC_EVICTED = -10,        /* the own slot was taken away, or the region was formatted anew: join again */
    IVC_PEER_GONE = -11,      /* the peer has left */
    IVC_PEER_RESTARTED = -12, /* the peer's slot has another incarnation */
    IVC_CORRUPT = -13,        /* the peer wrote what the layout does not allow */
};

/* Says in words what a status means. */
const char *ivc_text(enum ivc_status status);

struct ivc_region {
    unsigned char *base;
    uint64_t geometry;
    size_t len;
    size_t ring_len; /* of the data of one ring */
    unsigned slots;
    unsigned epoch;
};

/* Opens the region in `memory`, which has to stay mapped; if it is blank and `slots` is not 0, formats it before, with rings of
 * 2 to the power of `ring_log2` bytes. */
enum ivc_status ivc_open(struct ivc_region *region, void *memory, size_t len, unsigned slots, unsigned ring_log2);

/* Says whether the region is formatted as it was when it was opened. */
bool ivc_is_current(const struct ivc_region *region);

/* How a member introduces itself. */
struct ivc_introduction {
    char name[IVC_NAME_LEN + 1];
    uint16_t device;  /* IVC_NO_DEVICE for none */
    uint16_t vectors; /* 0 for one that polls */
    uint64_t limit;   /* ticks of the own clock for which another may stand still */
};

enum ivc_event_kind { IVC_JOINED, IVC_LEFT, IVC_DIED, IVC_RESTARTED };

struct ivc_event {
    enum ivc_event_kind kind;
    unsigned slot;
    uint32_t incarnation;
    char name[IVC_NAME_LEN + 1]; /* the peer's bytes, with a 0 behind; empty if not known any more */
};

struct ivc_pulse {
    uint32_t incarnation;
    uint32_t beat;
    uint64_t since;
};

/* What is known of another slot. */
struct ivc_seen {
    struct ivc_pulse pulse;
    enum { IVC_TOLD_NOBODY, IVC_TOLD_MEMBER, IVC_TOLD_DEAD } told;
    uint32_t incarnation;
    unsigned char name[IVC_NAME_LEN];
    bool alive; /* while joining */
};

struct ivc_member {
    const struct ivc_region *region;
    struct ivc_introduction introduction;
    uint64_t last, time; /* the own clock, and the time that counts */
    bool started;
    unsigned slot;
    uint64_t state; /* the word that says that the slot is this member's */
    uint32_t beats;
    unsigned next;
    struct ivc_seen seen[IVC_SLOTS_MAX];
};

/* Begins to join: then call ivc_join_poll several times within the limit, until it is done. */
void ivc_join(struct ivc_member *member, const struct ivc_region *region, const struct ivc_introduction *introduction);
enum ivc_status ivc_join_poll(struct ivc_member *member, uint64_t now);

/* Beats, and tells what has happened to another, if anything: IVC_DONE. Call it several times within the limit, each time until
 * there is nothing. */
enum ivc_status ivc_poll_event(struct ivc_member *member, uint64_t now, struct ivc_event *event);

void ivc_leave(struct ivc_member *member);

/* Rings a vector of a device. It must not wait. */
typedef void ivc_doorbell(void *context, uint16_t device, uint16_t vector);

/* One who publishes a position and rings who waits for it. */
struct ivc_publisher {
    size_t promise, wish;
    bool fences;
    uint64_t looked;
};

struct ivc_producer {
    size_t ring;
    uint64_t session;
    uint64_t position;
    uint64_t tail;
    bool met;
    bool inside; /* a message has begun */
    struct ivc_publisher data;
};

struct ivc_consumer {
    size_t ring;
    uint64_t session;
    uint64_t position;
    uint64_t published;
    bool begun;
    bool inside;
    size_t received; /* bytes of the message that has begun */
    unsigned patience, looks;
    struct ivc_publisher room;
};

struct ivc_connection {
    const struct ivc_member *member;
    unsigned slot;
    uint64_t peer; /* its state word */
    bool is_rung;
    bool rings;
    uint16_t device, vector;
    ivc_doorbell *doorbell;
    void *context;
    enum ivc_status broken;
    struct ivc_producer producer;
    struct ivc_consumer consumer;
};

/* Connects to the member in `slot`, once for each of its incarnations. */
enum ivc_status ivc_connect(struct ivc_connection *connection, const struct ivc_member *member, unsigned slot,
                            ivc_doorbell *doorbell, void *context);

/* Sends a message, or as much of it as there is room for: IVC_NOTHING. `*sent` is 0 at first; call again with the
 * same until it is done, or give the message up by sending another. */
enum ivc_status ivc_send(struct ivc_connection *connection, const void *message, size_t len, size_t *sent);

/* Receives a message into `buffer`, and its length into `*len`. IVC_NOTHING if there is none yet, or not all of it: call
 * again with the same buffer. IVC_TOO_LONG if the buffer has to be `*len` bytes long or more: call again with one that
 * begins with what the old one had. */
enum ivc_status ivc_receive(struct ivc_connection *connection, void *buffer, size_t size, size_t *len);

enum ivc_wait {
    IVC_READY,      /* try again */
    IVC_UNTIL_RUNG, /* sleep until the doorbell, or the next heartbeat */
    IVC_BRIEFLY,    /* sleep for a short time, since the doorbell may not come */
};

/* Asks to be rung when there is a message, or room for `len` bytes. IVC_DONE, or why the connection has ended. */
enum ivc_status ivc_arm_receive(struct ivc_connection *connection, enum ivc_wait *wait);
enum ivc_status ivc_arm_send(struct ivc_connection *connection, size_t len, enum ivc_wait *wait);

#endif
