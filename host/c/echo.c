/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A member that answers each message with itself, and tells what happens to others:
 *
 *     ivshmem-echo [-f SLOTS:RING_LOG2] [-l LIMIT_MS] [-b BEAT_MS] [-d DEVICE:OWN_FD:OTHER_FD] [-g] FILE NAME
 *
 * FILE is the region, /dev/stdin for one that is standard input. With -f a blank one is formatted. It
 * beats, and looks at the others, every BEAT_MS: an eighth of the limit, but at most 100, if not given. With -d the member
 * has a device with one vector: it sleeps on the eventfd OWN_FD, and rings all others by OTHER_FD. With -g it greets
 * whoever comes. Each event is a line on standard output. It leaves when it receives "the end of it".
 *
 * Exit status: 0 when it has left, 2 for bad arguments, 3 if the region cannot be used.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ivshmem-channel.h"

#define END "the end of it"
#define GREETING "hello"

/* The longest message that is answered. */
static const size_t LONGEST = (size_t)64 << 20;

static struct {
    const char *file;
    unsigned slots, ring_log2;
    int own_fd, other_fd;
    bool greets;
    unsigned beat_ms;
    struct ivc_introduction introduction;
} options = {.own_fd = -1, .other_fd = -1, .introduction = {.device = IVC_NO_DEVICE, .limit = 2000}};

/* A connection, and the message on its way back. */
struct peer {
    bool connected;
    struct ivc_connection connection;
    unsigned char *buffer;
    size_t size;
    size_t len; /* of the message that is sent back */
    size_t sent;
    bool answers;
};

static struct peer peers[IVC_SLOTS_MAX];

static int refuse(const char *what, const char *why) {
    fprintf(stderr, "ivshmem-echo: %s: %s\n", what, why);
    return 3;
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap(long microseconds) {
    struct timespec time = {.tv_sec = 0, .tv_nsec = microseconds * 1000};
    nanosleep(&time, NULL);
}

/* The bytes of a name are its peer's: what is no plain character is shown as '?'. */
static void print_event(const struct ivc_event *event) {
    static const char *const kinds[] = {"joined", "left", "died", "restarted"};
    char name[IVC_NAME_LEN + 1];
    memcpy(name, event->name, sizeof name);
    for (char *at = name; *at != 0; at++) {
        if (*at <= ' ' || *at > '~') {
            *at = '?';
        }
    }
    printf("%s %u %u %s\n", kinds[event->kind], event->slot, event->incarnation, name);
    fflush(stdout);
}

static void ring(void *context, uint16_t device, uint16_t vector) {
    (void)context, (void)device, (void)vector;
    uint64_t one = 1;
    if (options.other_fd >= 0 && write(options.other_fd, &one, sizeof one) < 0) {
        /* Only if the counter is full, when it has been rung. */
    }
}

static void drop(struct peer *peer, unsigned slot, enum ivc_status why) {
    printf("broken %u: %s\n", slot, ivc_text(why));
    fflush(stdout);
    free(peer->buffer);
    *peer = (struct peer){.connected = false};
}

static void meet(const struct ivc_member *member, unsigned slot) {
    struct peer *peer = &peers[slot];
    free(peer->buffer);
    *peer = (struct peer){.connected = false};
    peer->size = 64;
    peer->buffer = malloc(peer->size);
    if (peer->buffer == NULL) {
        return;
    }
    peer->connected = ivc_connect(&peer->connection, member, slot, ring, NULL) == IVC_DONE;
    if (options.greets) {
        peer->len = strlen(GREETING);
        memcpy(peer->buffer, GREETING, peer->len);
        peer->answers = true;
    }
}

/* Makes the buffer longer, with what is in it. */
static bool grow(struct peer *peer, size_t len) {
    size_t size = len < 2 * peer->size ? 2 * peer->size : len;
    unsigned char *buffer = size <= LONGEST ? realloc(peer->buffer, size) : NULL;
    if (buffer == NULL) {
        return false;
    }
    peer->buffer = buffer;
    peer->size = size;
    return true;
}

/* Receives or answers: IVC_DONE, IVC_NOTHING, or why the connection has ended. */
static enum ivc_status step(struct peer *peer, bool *is_end) {
    enum ivc_status status;
    if (peer->answers) {
        status = ivc_send(&peer->connection, peer->buffer, peer->len, &peer->sent);
        peer->answers = status != IVC_DONE;
        return status;
    }
    do {
        status = ivc_receive(&peer->connection, peer->buffer, peer->size, &peer->len);
    } while (status == IVC_TOO_LONG && grow(peer, peer->len));
    if (status == IVC_DONE) {
        peer->answers = true;
        peer->sent = 0;
        *is_end = peer->len == strlen(END) && memcmp(peer->buffer, END, peer->len) == 0;
    }
    return status;
}

/* Asks all to ring, and sleeps as long as it may. */
static void rest(unsigned slots, uint64_t most_ms) {
    enum ivc_wait least = IVC_UNTIL_RUNG;
    for (unsigned slot = 0; slot < slots; slot++) {
        struct peer *peer = &peers[slot];
        enum ivc_wait wait = IVC_READY;
        if (!peer->connected) {
            continue;
        }
        enum ivc_status status = peer->answers ? ivc_arm_send(&peer->connection, peer->len, &wait)
                                               : ivc_arm_receive(&peer->connection, &wait);
        if (status != IVC_DONE) {
            wait = IVC_READY; /* the next step tells */
        }
        least = wait == IVC_READY || least == IVC_READY ? IVC_READY : wait == IVC_BRIEFLY ? wait : least;
    }
    if (least == IVC_READY) {
        return;
    }
    if (options.own_fd < 0) {
        nap(200);
        return;
    }
    struct pollfd fd = {.fd = options.own_fd, .events = POLLIN};
    uint64_t counter;
    if (poll(&fd, 1, least == IVC_BRIEFLY ? 1 : (int)most_ms) > 0 && read(options.own_fd, &counter, sizeof counter) < 0) {
        /* Somebody else has read it: as good as rung. */
    }
}

/* Lives as a member until it is evicted (false) or told to end (true). */
static bool live(struct ivc_member *member) {
    const struct ivc_region *region = member->region;
    uint64_t eighth = options.introduction.limit / 8 + 1;
    uint64_t interval = options.beat_ms > 0 ? options.beat_ms : eighth < 100 ? eighth : 100;
    uint64_t beat = now_ms();
    for (bool first = true;; first = false) {
        uint64_t now = now_ms();
        if (first || now - beat >= interval) {
            beat = now;
            struct ivc_event event;
            enum ivc_status status;
            while ((status = ivc_poll_event(member, now, &event)) == IVC_DONE) {
                print_event(&event);
                bool comes = event.kind == IVC_JOINED || event.kind == IVC_RESTARTED;
                /* One that was only slow comes back in the same incarnation, and has its connection still. */
                const struct peer *peer = &peers[event.slot];
                bool known = peer->connected && peer->connection.peer >> 32 == event.incarnation;
                if (comes && !known) {
                    meet(member, event.slot);
                }
            }
            if (status != IVC_NOTHING) {
                return false;
            }
        }
        bool moved = false;
        for (unsigned slot = 0; slot < region->slots; slot++) {
            struct peer *peer = &peers[slot];
            bool is_end = false;
            enum ivc_status status = peer->connected ? step(peer, &is_end) : IVC_NOTHING;
            if (is_end) {
                return true;
            }
            if (status < 0) {
                drop(peer, slot, status);
            }
            moved = moved || status == IVC_DONE;
        }
        if (!moved) {
            rest(region->slots, interval);
        }
    }
}

static bool parse(int argc, char **argv) {
    int option;
    unsigned device, limit;
    while ((option = getopt(argc, argv, "f:l:b:d:g")) != -1) {
        if (option == 'f' && sscanf(optarg, "%u:%u", &options.slots, &options.ring_log2) == 2) {
            continue;
        }
        if (option == 'l' && sscanf(optarg, "%u", &limit) == 1) {
            options.introduction.limit = limit;
            continue;
        }
        if (option == 'b' && sscanf(optarg, "%u", &options.beat_ms) == 1) {
            continue;
        }
        if (option == 'd' && sscanf(optarg, "%u:%d:%d", &device, &options.own_fd, &options.other_fd) == 3) {
            options.introduction.device = (uint16_t)device;
            options.introduction.vectors = 1;
            continue;
        }
        if (option == 'g') {
            options.greets = true;
            continue;
        }
        return false;
    }
    if (argc - optind != 2) {
        return false;
    }
    options.file = argv[optind];
    strncpy(options.introduction.name, argv[optind + 1], IVC_NAME_LEN);
    return true;
}

int main(int argc, char **argv) {
    if (!parse(argc, argv)) {
        fprintf(stderr,
                "usage: %s [-f SLOTS:RING_LOG2] [-l LIMIT_MS] [-b BEAT_MS] [-d DEVICE:OWN_FD:OTHER_FD] [-g] FILE NAME\n",
                argv[0]);
        return 2;
    }
    int fd = open(options.file, O_RDWR);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) < 0) {
        return refuse(options.file, strerror(errno));
    }
    size_t len = (size_t)stat.st_size;
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return refuse(options.file, strerror(errno));
    }
    static struct ivc_region region;
    static struct ivc_member member;
    for (bool ended = false; !ended;) {
        enum ivc_status status = ivc_open(&region, memory, len, options.slots, options.ring_log2);
        if (status != IVC_DONE) {
            return refuse(options.file, ivc_text(status));
        }
        ivc_join(&member, &region, &options.introduction);
        while ((status = ivc_join_poll(&member, now_ms())) == IVC_NOTHING) {
            nap(1000);
        }
        if (status == IVC_EVICTED) {
            continue;
        }
        if (status != IVC_DONE) {
            return refuse(options.file, ivc_text(status));
        }
        printf("member %u %u\n", member.slot, (unsigned)(member.state >> 32));
        fflush(stdout);
        ended = live(&member);
        for (unsigned slot = 0; slot < IVC_SLOTS_MAX; slot++) {
            free(peers[slot].buffer);
            peers[slot] = (struct peer){.connected = false};
        }
    }
    ivc_leave(&member);
    munmap(memory, len);
    close(fd);
    return 0;
}
