/*
 * throttle.h - groups, lanes, rates and slots; for the files of this folder.
 */
#ifndef THROTTLE_H
#define THROTTLE_H

#define GA_LEVEL GA_ABI_STRICT
#include <sys/queue.h>

#include <uthash.h>

#include <greenarrow/conf.h>
#include <greenarrow/service/delivery.h>

#define THR_LIMIT_CONTEXTS "general,ip_address,relay_server,domain,rule,throttle_template"

#define THROTTLE_DIRECTIVES(X)									\
	X(int, max_concurrent_connections, "100", "min=0",					\
	    THR_LIMIT_CONTEXTS,								\
	    "Connections that may be open at once for one throttle group; 0: no limit")		\
	X(rate, max_delivery_rate, "0", "", THR_LIMIT_CONTEXTS,					\
	    "Recipients that one throttle group may try in a time, evenly; 0: no limit")	\
	X(int, max_delivery_burst, "", "min=1", THR_LIMIT_CONTEXTS,				\
	    "Recipients that may go at once after a time without; default: a second's worth")	\
	X(rate, max_connection_rate, "0", "", THR_LIMIT_CONTEXTS,				\
	    "New connections that one throttle group may open in a time; 0: no limit")		\
	X(string, throttle_program, "", "is=throttle_program", THR_LIMIT_CONTEXTS,		\
	    "What begins a backoff, by its name; default: replies and commands alone")		\
	X(percent, failure_rate, "", "", "throttle_program",					\
	    "Share of recipients that fail at which backoff begins; default: any share may")	\
	X(percent, deferral_rate, "", "", "throttle_program",					\
	    "Share of recipients that are deferred at which backoff begins; default: any share may")	\
	X(duration, window, "1m", "min=1s max=1d", "throttle_program",				\
	    "Time over which these shares are taken")						\
	X(int, minimum_sample, "20", "min=1 max=1000000000", "throttle_program",		\
	    "Results in the window below which backoff does not begin")				\
	X(duration, return_after, "30m", "min=1s", "throttle_program",				\
	    "How long a backoff lasts")								\
	X(choice, recovery, "at_once", "oneof=at_once|gradual", "throttle_program",		\
	    "How limits return: at once, or step by step as far as the receiver goes along")	\
	X(duration, recovery_interval, "10s", "min=1s max=1h", "throttle_program",		\
	    "Time between two steps of a gradual recovery")					\
	X(string, backoff_max_concurrent_connections, "25%", "is=percent_or_int",		\
	    "throttle_program," THR_LIMIT_CONTEXTS,						\
	    "Connections in backoff, or their share of the limit; 0: as without")		\
	X(string, backoff_max_delivery_rate, "25%", "is=percent_or_rate",			\
	    "throttle_program," THR_LIMIT_CONTEXTS,						\
	    "Rate of recipients in backoff, or its share of the limit; 0: as without")		\
	X(duration, backoff_return_after, "5m", "min=1s", THR_LIMIT_CONTEXTS,			\
	    "How long a backoff lasts that a reply or a command began, without a throttle_program")	\
	X(int, id, "", "min=1 unique_in_block", "domain,rule",				\
	    "Number of this rule in the keys of throttle groups; default: assigned, and kept")	\
	X(int, system_max_smtp_connections, "10000", "min=0", "general",			\
	    "Outgoing SMTP connections that may be open at once in all; 0: no limit")

GA_CONF_STRUCT(throttle_conf, THROTTLE_DIRECTIVES);

struct thr_lane_key {
	uint64_t group;			/* its address */
	uint32_t sender;		/* hashes */
	uint32_t domain_and_send;
};
/* Mail of one recipient domain from one sender domain and of one SendID, in the order
 * it came. */
struct thr_lane {
	UT_hash_handle hh;		/* in the loop's table */
	struct thr_lane_key key;
	struct thr_lane *next, *prev;	/* ring of lanes with tickets */
	struct ga_ticket *first, **last;
};

/* A limit on a rate, and how much of it is used: see rate.c. */
struct thr_rate {
	uint64_t step_ns;		/* between two of them; 0: no limit */
	uint64_t slack_ns;		/* so much earlier than even they may come: (burst - 1) steps */
	uint64_t due_ns;		/* when the next would be due, did they come evenly */
};

/* Recipients tried in this span of SPAN_US and in the one before: see rate.c. */
struct thr_recent {
	uint32_t span, now, before;
};

/* Rates in the words of the settings. */
#define THR_WRITTEN_TEXT 16
struct thr_written {
	char deliveries[THR_WRITTEN_TEXT], dials[THR_WRITTEN_TEXT];
};
/* max_concurrent_connections, max_delivery_rate; 0: no limit. */
struct thr_limits {
	unsigned connections;
	double rate;			/* recipients a second */
};
/* What a backoff does: a throttle_program's word, or that of directives outside one. */
struct thr_plan {
	struct ga_amount connections, rate;
	uint64_t return_ms;
};
/* When a backoff begins, and how it ends. */
struct thr_program {
	double failure_rate, deferral_rate;	/* per cent; 0: any */
	uint64_t window_us, interval_ms;
	uint32_t minimum;
	bool gradual;
};
/* What the settings say to a group, shared by those to which they say the same: see
 * terms.c.  It is found by what comes from written on. */
struct thr_terms {
	UT_hash_handle hh;		/* in the table of its loop */
	const char *domains;		/* patterns of the rule, ", " between them; "": it has none */
	unsigned refs;
	struct thr_limits written;	/* in force without a backoff */
	double dial_rate;		/* max_connection_rate, a second; 0: no limit */
	uint64_t burst;			/* max_delivery_burst */
	struct thr_plan plan;
	struct thr_program program;
	bool has_program;		/* else only replies and commands begin a backoff */
	struct thr_written texts;
	char behind[];			/* where domains points to */
};
struct thr_backoff;			/* backoff.h */

/* With its key, a lane, its timer and its backoff a kilobyte at most: there are a hundred
 * thousand of them. */
struct ga_group {
	UT_hash_handle hh;		/* in the table of all groups, under its lock */
	unsigned refs;			/* under the same lock: routes and travelling tickets */
	uint32_t number;		/* from 1, never given again: "t17" */
	char *key;			/* the name of its VirtualMTA behind it */
	struct ga_worker *home;
	uint32_t mta_id;
	/* the rest belongs to the home loop */
	bool pumping, going;		/* those posts are under way */
	bool wants_slot;		/* in the loop's list of those that wait for the system */
	bool served;			/* it is this group's turn to take a slot */
	struct ga_group *next, **prev;	/* groups of this loop */
	struct thr_terms *terms;	/* before its first ticket &thr_no_terms */
	struct thr_backoff *backoff;	/* NULL: no results were counted, and none was begun */
	uint64_t snapshot;		/* number of the one that the terms are from */
	unsigned max;			/* connections, in force */
	unsigned connections, waiting, in_flight;
	unsigned bounces, firsts;	/* of those that wait */
	struct thr_lane *ring;		/* the lane whose turn it is */
	struct ga_post pump, gone;
	struct ga_group *slot_next, **slot_prev;
	struct thr_rate deliveries, dials;	/* max_delivery_rate, max_connection_rate */
	uint64_t hold_us;		/* acquire said not before; 0: it did not */
	struct ga_timer *timer;		/* the one moment at which it is looked at again */
	uint64_t wake_us;		/* that moment; 0: nothing waits for one */
	struct thr_recent recent;
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
	struct thr_lane *lanes;		/* of all its groups; hash by key */
	struct thr_terms *terms;	/* of all its groups; hash by content */
	uint64_t snapshot;		/* number of the newest */
	_Atomic unsigned waiting;	/* tickets in the groups here; written on this loop */
	_Atomic unsigned backoffs;	/* groups here that are in one */
	LIST_HEAD(, thr_walk) walks;	/* whose place is here */
	STAILQ_HEAD(, thr_recall) recalls;	/* the first is under way */
	uint32_t nrecalls;		/* begun here so far */
	struct ga_group *waiters, **waiters_end;
	_Atomic bool wants_slot;	/* some group here waits for a slot of the system */
	_Atomic bool waking, closing;	/* those posts are under way */
	struct ga_post wake, close_idle;
};

/* A visit to all groups: see walk.c. */
#define THR_SLICE 200		/* groups in one turn of a loop */
struct thr_walk {
	struct ga_post post;
	struct ga_worker *asker;
	void (*visit)(struct thr_walk *, struct ga_group *);	/* on its loop */
	/* NULL, or after each slice, on that loop.  True: the post is on its way to the
	 * asker, who goes on with thr_walk_on() when it likes. */
	bool (*slice)(struct thr_walk *);
	void (*end)(struct ga_worker *, struct thr_walk *);	/* on the asker's loop */
	void (*drop)(struct thr_walk *);	/* in its place, when the loops have ended */
	bool here_only;				/* of one loop, the asker's */
	bool enough;				/* set by the asker or by visit: end */
	LIST_ENTRY(thr_walk) link, here;	/* private from here on: of all; of this loop */
	unsigned loop;
	bool begun;
	struct ga_group *at;
};

extern struct ga_inst *thr_inst;
extern const struct ga_delivery *thr_delivery;
struct thr_loop *thr_loop(struct ga_worker *);

/* group.c: the table of groups.  Any loop. */
struct ga_group *thr_group_of(struct ga_route *);	/* with a reference */
void thr_group_unref(struct ga_group *);
/* The one of that key, or NULL; may be looked at within a turn of its home loop only. */
struct ga_group *thr_group_find(struct ga_str key, struct ga_worker **home);
const char *thr_group_virtual_mta(const struct ga_group *);
unsigned thr_groups_count(void);
void thr_group_quiet(struct ga_group *);
void thr_groups_begin(void);		/* no loop runs yet; any more */
void thr_groups_end(void);
/* terms.c: on the group's loop. */
extern struct thr_terms thr_no_terms;	/* nothing is said yet */
void thr_terms_take(struct ga_group *, const struct ga_settings *);
void thr_terms_unref(struct thr_loop *, struct thr_terms *);	/* NULL: the loops have ended */
/* lane.c: on the group's loop. */
void thr_lane_put(struct ga_group *, struct ga_ticket *);
struct ga_batch thr_lane_take(struct ga_group *, unsigned limit, ga_batch_fits_fn *, void *arg);
void thr_lane_put_back(struct ga_group *, struct ga_batch);
/* The ticket that is *at, of the middle of the lane; a lane without tickets is freed. */
void thr_lane_remove(struct thr_lane *, struct ga_ticket **at);
static inline struct ga_group *
thr_lane_group(const struct thr_lane *lane)
{
	return (struct ga_group *)(uintptr_t)lane->key.group;
}
/* Sender domains of what waits; of the first most lanes when there are more (all: false). */
unsigned thr_lane_senders(const struct ga_group *, unsigned most, bool *all);
/* recall.c: tickets that wait go home, in slices. */
#define THR_RECALL_SLICE 1000	/* tickets and lanes looked at in one go */
void thr_recall(struct ga_worker *home, bool (*match)(const struct ga_ticket *, void *), void *arg);
void thr_recall_ticket_goes(struct thr_loop *, struct thr_lane *, const struct ga_ticket *);
void thr_recall_lane_goes(struct thr_loop *, const struct thr_lane *);
void thr_recalls_end(struct thr_loop *);	/* all loops have ended */
/* rate.c: rates.  All times are of ga_mono_us(). */
void thr_rate_set(struct thr_rate *, double per_second, uint64_t burst, uint64_t now_us);
unsigned thr_rate_allows(const struct thr_rate *, unsigned most, uint64_t now_us);
void thr_rate_take(struct thr_rate *, unsigned n, uint64_t now_us);
void thr_rate_give_back(struct thr_rate *, unsigned n);
uint64_t thr_rate_when(const struct thr_rate *);	/* the next may go; in the past: now */
void thr_recent_add(struct thr_recent *, unsigned n, uint64_t now_us);
void thr_recent_take_back(struct thr_recent *, unsigned n);
double thr_recent_rate(const struct thr_recent *, uint64_t now_us);	/* a second */
#define THR_RATE_TEXT 24
const char *thr_rate_text(const struct thr_rate *, char to[THR_RATE_TEXT]);	/* "2.5/min" */
bool thr_rate_is(const struct thr_rate *, double per_second);
double thr_rate_per_second(const struct thr_rate *);	/* 0: no limit */
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
unsigned thr_slots_max(void);		/* 0: no limit */
unsigned thr_slot_place(const struct ga_group *);	/* in the line of its loop, from 1; 0: not in it */
/* walk.c: any loop. */
void thr_walk_begin(struct thr_walk *);
void thr_walk_on(struct thr_walk *);
void thr_cursors_pass(struct thr_loop *, const struct ga_group *);	/* it leaves the list */
void thr_walks_stop(void);
/* report.c */
void thr_report_init(struct ga_inst *);
void thr_each_group(struct ga_worker *asker,
    void (*fn)(struct ga_group *, const struct ga_group_info *, void *),
    void (*end)(struct ga_worker *, void *), void *arg);
/* explain.c */
void thr_explain(struct ga_group_question *);
const char *thr_duration(uint64_t ms, char *to, size_t room);	/* "29m 12s" */
/* backoff.c: on the group's loop. */
bool thr_backoff_check(struct ga_diag *);	/* the snapshot that is coming */
void thr_backoff_settings(struct ga_group *);	/* its terms are new */
void thr_backoff_feed(struct ga_group *, const struct ga_ticket *, unsigned n);
void thr_backoff_begin(struct ga_group *, const char *reason, uint64_t ms);
bool thr_backoff_end(struct ga_group *);	/* at once; false: it was not in one */
bool thr_in_backoff(const struct ga_group *);		/* or in recovery from one */
const char *thr_state(const struct ga_group *);	/* "normal", "backoff", "recovery" */
const char *thr_backoff_reason(const struct ga_group *);	/* NULL: not in one */
uint64_t thr_backoff_began(const struct ga_group *);	/* ga_mono_us(); 0: not in one */
uint64_t thr_backoff_until(const struct ga_group *);	/* the same */
/* It must live, and wakes by itself; else until when what it has counted matters. */
bool thr_backoff_keeps(const struct ga_group *);
uint64_t thr_backoff_neutral_at(const struct ga_group *);
void thr_backoff_woken(struct ga_group *);	/* the group's timer has fired */
void thr_backoff_free(struct ga_group *);
/* throttle.c */
unsigned thr_saved(const struct ga_group *);	/* of its connections */
void thr_limits_apply(struct ga_group *);	/* written, or what a backoff makes of it */
void thr_pump_soon(struct ga_group *);
void thr_wake_at(struct ga_group *, uint64_t us);	/* pumped then, or before */

#endif
