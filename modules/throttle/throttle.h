/*
 * throttle.h - groups, lanes and slots; for the files of this folder.
 */
#ifndef THROTTLE_H
#define THROTTLE_H

#define GA_LEVEL GA_ABI_STRICT
#include <uthash.h>

#include <greenarrow/service/delivery.h>

#define THROTTLE_DIRECTIVES(X)									\
	X(int, max_concurrent_connections, "100", "min=0",					\
	    "general,ip_address,relay_server,domain",					\
	    "Connections that may be open at once for one throttle group; 0: no limit")		\
	X(int, id, "", "min=1", "domain",						\
	    "Number of this rule in the keys of throttle groups; default: assigned, and kept")	\
	X(int, system_max_smtp_connections, "10000", "min=0", "general",			\
	    "Outgoing SMTP connections that may be open at once in all; 0: no limit")

GA_CONF_STRUCT(throttle_conf, THROTTLE_DIRECTIVES);

/* Mail of one recipient domain from one sender domain, in the order it came. */
struct thr_lane {
	UT_hash_handle hh;
	uint64_t key;			/* hash of domain << 32 | sender_key */
	struct thr_lane *next, *prev;	/* ring of lanes with tickets */
	struct ga_ticket *first, **last;
	unsigned n;
};

struct ga_group {
	UT_hash_handle hh;		/* in the table of all groups, under its lock */
	unsigned refs;			/* under the same lock: routes and travelling tickets */
	char *key;
	struct ga_worker *home;
	/* the rest belongs to the home loop */
	struct ga_group *next, **prev;	/* groups of this loop */
	unsigned max;
	uint64_t snapshot;		/* number of the one that max is from */
	unsigned connections, waiting, in_flight;
	struct thr_lane *lanes;		/* hash by key */
	struct thr_lane *ring;		/* the lane whose turn it is */
	struct ga_post pump, gone;
	bool pumping, going;		/* those posts are under way */
	bool wants_slot;		/* in the loop's list of those that wait for the system */
	bool served;			/* it is this group's turn to take a slot */
	struct ga_group *slot_next;
	struct ga_timer *hold;		/* acquire said not now */
};

/* Tickets for the groups of one other loop, on their way there together. */
struct thr_outbox {
	struct ga_ticket *first, **last;	/* by next */
};

/* A loop's part. */
struct thr_loop {
	struct ga_worker *worker;
	struct thr_outbox *out;		/* one a loop */
	struct ga_post flush;
	bool flushing;			/* that post is under way */
	struct ga_group *groups;
	struct ga_group *waiters, **waiters_end;
	_Atomic bool wants_slot;	/* some group here waits for a slot of the system */
	_Atomic bool waking, closing;	/* those posts are under way */
	struct ga_post wake, close_idle;
};

extern struct ga_inst *thr_inst;
extern const struct ga_delivery *thr_delivery;
struct thr_loop *thr_loop(struct ga_worker *);

/* group.c: the table of groups.  Any loop. */
struct ga_group *thr_group_of(struct ga_route *);	/* with a reference */
void thr_group_unref(struct ga_group *);
void thr_group_quiet(struct ga_group *);
/* lane.c: on the group's loop. */
void thr_lane_put(struct ga_group *, struct ga_ticket *);
struct ga_batch thr_lane_take(struct ga_group *, unsigned limit, ga_batch_fits_fn *, void *arg);
void thr_lane_put_back(struct ga_group *, struct ga_batch);
unsigned thr_lane_recall(struct ga_group *, const struct ga_worker *home,
    bool (*match)(const struct ga_ticket *, void *), void *arg);
/* slot.c: system_max_smtp_connections. */
void thr_slots_limit(unsigned max);
void thr_slots_start(struct thr_loop *);
bool thr_slot_take(void);
void thr_slot_give(void);
void thr_slot_wait(struct ga_group *);
bool thr_slots_wanted(void);		/* some group waits */
void thr_slots_pass_on(void);		/* one is free that who was woken did not need */
void thr_slot_free_idle(struct thr_loop *);
void thr_slot_forget(struct ga_group *);
unsigned thr_slots_used(void);
/* throttle.c */
void thr_pump_soon(struct ga_group *);

#endif
