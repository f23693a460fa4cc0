/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Joining a region, and watching the others: "A slot" of docs/layout.md. */

#include <string.h>

#include "slot.h"

static uint32_t own_address(const struct ivc_member *member) {
    return member->introduction.device | (uint32_t)member->introduction.vectors << 16;
}

static void own_name(const struct ivc_member *member, unsigned char name[IVC_NAME_LEN]) {
    memset(name, 0, IVC_NAME_LEN);
    memcpy(name, member->introduction.name, strlen(member->introduction.name));
}

/* Stores address and name, where they are not so already. */
static void introduce(const struct ivc_member *member, uint32_t incarnation) {
    unsigned char name[IVC_NAME_LEN];
    own_name(member, name);
    ivc_show_identity(member->region, member->slot, incarnation, own_address(member), name);
}

/* --- Time, and who stands still --- */

/* Takes in the time: what passes between two looks counts as half the limit + 1 at most. */
static void advance(struct ivc_member *member, uint64_t now) {
    uint64_t most = member->introduction.limit / 2 + 1;
    if (member->started && now > member->last) {
        uint64_t step = now - member->last;
        member->time += step < most ? step : most;
    }
    member->last = now;
    member->started = true;
}

enum motion { NEW, MOVED, STANDS, STILL };

/* Looks at a heartbeat; STILL says that it has stood for the limit. */
static enum motion feel(const struct ivc_member *member, struct ivc_pulse *pulse, unsigned slot, uint32_t incarnation) {
    uint32_t beat;
    if (!ivc_look_at_beat(member->region, slot, incarnation, &beat)) {
        beat = pulse->beat;
    }
    enum motion motion = pulse->incarnation != incarnation ? NEW : MOVED;
    if (motion == MOVED && pulse->beat == beat) {
        return member->time - pulse->since > member->introduction.limit ? STILL : STANDS;
    }
    *pulse = (struct ivc_pulse){incarnation, beat, member->time};
    return motion;
}

/* --- Joining --- */

void ivc_join(struct ivc_member *member, const struct ivc_region *region, const struct ivc_introduction *introduction) {
    *member = (struct ivc_member){.region = region, .introduction = *introduction};
    member->introduction.name[IVC_NAME_LEN] = 0;
}

static bool is_namesake(const struct ivc_member *member, unsigned slot, uint32_t incarnation) {
    uint32_t address;
    unsigned char name[IVC_NAME_LEN], own[IVC_NAME_LEN];
    own_name(member, own);
    return ivc_look_at_identity(member->region, slot, incarnation, &address, name) && memcmp(name, own, sizeof own) == 0;
}

/* Takes the slot that was looked at, unless somebody else was faster. */
static enum ivc_status claim(struct ivc_member *member, unsigned slot, struct state seen) {
    const struct ivc_region *region = member->region;
    uint64_t claimed = ivc_claimed_after(region, &seen);
    uint32_t incarnation = (uint32_t)(claimed >> 32);
    if (!ivc_exchange_state(region, slot, seen.word, claimed)) {
        return IVC_NOTHING;
    }
    member->slot = slot;
    member->beats = 1;
    ivc_show_beat(region, slot, incarnation, member->beats);
    introduce(member, incarnation);
    member->state = claimed - CLAIMED + MEMBER;
    if (!ivc_exchange_state(region, slot, claimed, member->state)) {
        return IVC_NOTHING;
    }
    member->next = 0;
    memset(member->seen, 0, sizeof member->seen);
    return IVC_DONE;
}

enum ivc_status ivc_join_poll(struct ivc_member *member, uint64_t now) {
    if (!ivc_is_current(member->region)) {
        return IVC_EVICTED;
    }
    advance(member, now);
    struct state chosen = {0};
    unsigned slot = IVC_SLOTS_MAX;
    bool is_free = false, wait = false;
    for (unsigned i = 0; i < member->region->slots; i++) {
        struct state state = ivc_look_at_state(member->region, i);
        if (state.phase == FREE) {
            if (!is_free || state.incarnation < chosen.incarnation) {
                is_free = true;
                slot = i;
                chosen = state;
            }
            continue;
        }
        struct ivc_seen *seen = &member->seen[i];
        enum motion motion = feel(member, &seen->pulse, i, state.incarnation);
        seen->alive = motion == MOVED || (motion == STANDS && seen->alive);
        bool same = is_namesake(member, i, state.incarnation);
        if (motion == STILL && same) {
            return claim(member, i, state);
        }
        if (motion == STILL && slot == IVC_SLOTS_MAX) {
            slot = i;
            chosen = state;
        }
        wait = wait || (same && !seen->alive);
    }
    if (wait) {
        return IVC_NOTHING;
    }
    if (slot < IVC_SLOTS_MAX) {
        return claim(member, slot, chosen);
    }
    return member->time > member->introduction.limit ? IVC_FULL : IVC_NOTHING;
}

/* --- Being a member --- */

/* Tells that the one who was there is not any more, unless that is known. */
static bool bury(struct ivc_seen *seen, struct ivc_event *event, enum ivc_event_kind kind) {
    bool news = seen->told == IVC_TOLD_MEMBER;
    seen->told = IVC_TOLD_NOBODY;
    event->kind = kind;
    event->incarnation = seen->incarnation;
    memcpy(event->name, seen->name, IVC_NAME_LEN);
    return news;
}

/* Tells that one stands still, who may go on later. */
static bool die(struct ivc_seen *seen, struct ivc_event *event) {
    bool news = bury(seen, event, IVC_DIED);
    seen->told = IVC_TOLD_DEAD;
    return news;
}

static bool welcome(struct ivc_seen *seen, struct ivc_event *event, enum ivc_event_kind kind, uint32_t incarnation,
                    const unsigned char *name) {
    seen->told = IVC_TOLD_MEMBER;
    seen->incarnation = incarnation;
    memcpy(seen->name, name, IVC_NAME_LEN);
    event->kind = kind;
    event->incarnation = incarnation;
    memcpy(event->name, name, IVC_NAME_LEN);
    return true;
}

/* Looks what has happened in a slot: the table of events. */
static bool look_at_slot(struct ivc_member *member, unsigned slot, struct ivc_event *event) {
    struct ivc_seen *seen = &member->seen[slot];
    struct state state = ivc_look_at_state(member->region, slot);
    enum motion motion = feel(member, &seen->pulse, slot, state.incarnation);
    uint32_t address;
    unsigned char name[IVC_NAME_LEN];
    bool there = state.phase == MEMBER && ivc_look_at_identity(member->region, slot, state.incarnation, &address, name);

    if (seen->told == IVC_TOLD_NOBODY) {
        return there && welcome(seen, event, IVC_JOINED, state.incarnation, name);
    }
    if (state.incarnation != seen->incarnation) {
        if (state.incarnation == next_incarnation(seen->incarnation) && state.vacant) {
            return bury(seen, event, IVC_LEFT);
        }
        if (there && memcmp(name, seen->name, sizeof name) == 0) {
            return welcome(seen, event, IVC_RESTARTED, state.incarnation, name);
        }
        if (there || state.phase == FREE) {
            return bury(seen, event, IVC_DIED);
        }
        /* Somebody is about to come, and the one before is known by its name; or dies on the way. */
        return motion == STILL && die(seen, event);
    }
    if (state.phase == FREE) {
        return bury(seen, event, IVC_LEFT);
    }
    if (seen->told == IVC_TOLD_DEAD && state.phase == MEMBER && motion == MOVED) {
        return welcome(seen, event, IVC_JOINED, state.incarnation, seen->name);
    }
    return motion == STILL && die(seen, event);
}

enum ivc_status ivc_poll_event(struct ivc_member *member, uint64_t now, struct ivc_event *event) {
    const struct ivc_region *region = member->region;
    if (!ivc_is_state(region, member->slot, member->state) || !ivc_is_current(region)) {
        return IVC_EVICTED;
    }
    uint32_t incarnation = (uint32_t)(member->state >> 32);
    ivc_show_beat(region, member->slot, incarnation, ++member->beats);
    introduce(member, incarnation);
    advance(member, now);
    while (member->next < region->slots) {
        unsigned slot = member->next++;
        memset(event, 0, sizeof *event);
        if (slot != member->slot && look_at_slot(member, slot, event)) {
            event->slot = slot;
            return IVC_DONE;
        }
    }
    member->next = 0;
    return IVC_NOTHING;
}

void ivc_leave(struct ivc_member *member) {
    /* One who was evicted has left already. */
    (void)ivc_exchange_state(member->region, member->slot, member->state, member->state - MEMBER + FREE);
}
