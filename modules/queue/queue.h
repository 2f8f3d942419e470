/*
 * queue.h - what waits: messages, envelopes, lanes; for the files of this folder.
 *
 * Everything here belongs to one loop: the message's home.  Entities are entries
 * of slabs, named by 32-bit numbers (0 = none), so that ten million envelopes
 * cost what their fields cost.  What is needed only at an attempt (recipient,
 * reply, body) stays in the spool.
 */
#ifndef QUEUE_H
#define QUEUE_H

#define GA_LEVEL GA_ABI_STRICT
#include <stdatomic.h>

#include <sys/queue.h>

#include <uthash.h>

#include <greenarrow/service/bounce.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/intake.h>
#include <greenarrow/service/queue.h>

#define QUEUE_DIRECTIVES(X)									\
	X(duration, queue_lifetime, "2d", "min=1s", "general,ip_address,relay_server,domain",	\
	    "How long a message may wait; then one last attempt is made")			\
	X(list, retry_schedule, "", "is=duration", "general,ip_address,relay_server,domain",	\
	    "Waits between attempts, the last one repeats; default: ((n-1)*20)^2 s after acceptance") \
	X(duration, connmaxout_after, "5m", "min=1s", "general",				\
	    "How long an attempt may be kept from starting by the limits of its throttle group before that is logged") \
	X(size, queue_memory, "0", "", "general",						\
	    "Octets of message bodies kept in memory, reception included; 0: a quarter of the machine's")

GA_CONF_STRUCT(queue_conf, QUEUE_DIRECTIVES);

enum q_state {
	Q_FREE,
	Q_COMMITTING,		/* of a message: not yet on stable storage */
	Q_TIMED,		/* in the heap until its due time */
	Q_LANED,		/* due: in its lane */
	Q_OUT,			/* with the router, the throttle or delivery */
	Q_PAUSED,		/* in the heap: delivery_paused, looked at again when due */
	Q_HELD,			/* in the heap until it expires: suspended */
	Q_ENDED			/* failed, or delivered: kept until that is reported */
};

struct q_message {
	struct ga_message *live;	/* one reference while a first attempt needs it */
	uint64_t seq;
	uint64_t accepted_ms;		/* wall clock of q_wall_ms() */
	uint32_t id;
	uint32_t id_next;		/* bucket chain of the id table */
	uint32_t virtual_mta;		/* interned, as all of these: name */
	uint32_t sender, from;		/* domains of MAIL FROM, of the From field */
	uint32_t send;			/* interned: SendID, "": none */
	uint32_t envelopes;		/* list by q_envelope.next */
	uint32_t nlive;			/* envelopes not finished */
	uint32_t first_attempts;	/* envelopes whose first attempt has not ended */
	uint8_t state;			/* Q_COMMITTING, or Q_TIMED = in the queue */
	uint8_t notices;		/* bit for each ga_report_kind: there is a notice */
	bool bounce;
	bool notify_delay;		/* some recipient has NOTIFY=DELAY */
};

struct q_envelope {
	uint64_t due_ms;		/* monotonic */
	uint32_t message;
	uint32_t next;			/* of the same message */
	uint32_t random, index;
	uint32_t domain;		/* interned */
	uint32_t local;			/* hash of the local part, without case */
	uint32_t lane_next;		/* in its lane */
	uint32_t heap_at;		/* position + 1; 0: not in the heap */
	uint16_t attempts;
	uint8_t state;			/* enum q_state */
	uint8_t flags;			/* enum ga_env_flag, and these, which are not on record */
};
#define Q_ENV_DELAYED 0x80	/* a report of its delay is due */
#define Q_ENV_KEPT_TOLD 0x40	/* modules were told that limits keep its next attempt from starting */
#define Q_ENV_NOT_RECORDED (Q_ENV_DELAYED | Q_ENV_KEPT_TOLD)

/* Strings that many share: counted. */
struct q_name {
	UT_hash_handle hh;
	uint32_t number, refs;
	uint32_t hash;
	uint32_t n;
	char text[];
};

/* A growing array whose entries do not move while they are used by number only. */
struct q_slab {
	char *p;
	size_t size;			/* of an entry; its first 4 octets link free ones */
	uint32_t n, room, free;
};

/* Due envelopes of one VirtualMTA x recipient domain x sender domain x SendID. */
struct q_lane {
	UT_hash_handle hh;
	struct { uint32_t virtual_mta, domain, sender, send; } key;
	uint32_t first, last;		/* by lane_next */
	uint32_t n, out;		/* waiting here; attempts outstanding, */
	uint32_t window;		/* and how many may be */
	struct q_loop *loop;
	struct ga_post more;		/* goes on with a long lane at the loop's next turn */
	bool running, posted;
};

struct q_loop;
struct submit;				/* intake.c */
struct q_notice;			/* notify.c */

/* An envelope that is out. */
struct q_attempt {
	struct ga_route_request request;
	struct ga_ticket ticket;
	struct q_loop *loop;
	struct q_lane *lane;
	uint32_t envelope;
	bool last_chance;		/* its lifetime was over when it began */
	struct ga_run run;		/* the schedule hook */
	struct ga_ev_schedule schedule;
	struct ga_spool_read read;	/* for its recipient, which is not in memory */
	bool reading, stopped;		/* stopped: nobody is asked or told any more */
	void (*have_read)(struct q_attempt *);
	void (*told)(struct q_attempt *);	/* tell.c: what follows */
	uint32_t mta_key;		/* hash of the VirtualMTA that the message names; stays
					   as it is while the ticket is with the throttle */
	struct q_attempt *next;		/* free list; or list of all that are out */
	struct q_attempt **prev;
};

#define Q_ATTEMPT_OF(t) \
	((const struct q_attempt *)(const void *)((const char *)(t) - offsetof(struct q_attempt, ticket)))

struct q_counts {			/* written by the loop, read by anybody */
	_Atomic uint64_t messages, envelopes, ram, bounce, disk, failed, waiting, out, paused;
	_Atomic uint64_t accepted_total, success_total, deferral_total, failure_total, toolong_total;
	_Atomic uint64_t discarded_total;
};

struct q_loop {
	struct ga_worker *worker;
	struct q_slab messages, envelopes;
	uint32_t *ids, id_mask, nids;		/* buckets */
	struct q_name *names, **name_of;	/* by text; by number */
	uint32_t nnames, names_room, *free_names, nfree_names, free_names_room;
	uint32_t *heap, nheap, heap_room;
	struct ga_timer *timer, *kept_timer;
	struct q_lane *lanes;
	struct q_attempt *free_attempts, *out;
	struct submit *submits;			/* not answered yet */
	TAILQ_HEAD(q_notices, q_notice) notices, told;	/* to be told; being told */
	unsigned ntold;
	uint64_t notices_ms;			/* none before: there was no room for one */
	struct ga_timer *notice_timer;
	const struct ga_bounce *reporter;	/* NULL: nobody makes reports */
	uint64_t wall_offset_ms;		/* wall clock = monotonic + this */
	uint64_t wall_looked_ms;
	struct ga_post look;			/* after a reload: all envelopes, slice by slice */
	uint32_t look_at;
	bool looking;
	uint64_t *named;			/* after a reload: envelopes by number of the VirtualMTA's name */
	uint32_t named_room;
	bool draining, recovered;
	struct ga_hold *hold, *reading, *telling;
	struct q_counts counts;
};

extern struct ga_inst *q_inst;
extern const struct ga_spool *q_spool;
extern const struct ga_router *q_router;
extern const struct ga_throttle *q_throttle;

struct q_loop *q_loop(struct ga_worker *);
#define Q_ADD(loop, field, by) \
	atomic_fetch_add_explicit(&(loop)->counts.field, (uint64_t)(by), memory_order_relaxed)

/* slab.c */
void q_slab_init(struct q_slab *, size_t size);
uint32_t q_slab_new(struct q_slab *);			/* zeroed */
void q_slab_free(struct q_slab *, uint32_t);
void q_slab_end(struct q_slab *);
uint32_t q_name(struct q_loop *, struct ga_str);	/* with a reference */
void q_name_unref(struct q_loop *, uint32_t);
struct ga_str q_name_text(const struct q_loop *, uint32_t);

static inline struct q_message *
q_message(struct q_loop *l, uint32_t i)
{
	return (struct q_message *)(void *)(l->messages.p + (size_t)i * sizeof(struct q_message));
}
static inline struct q_envelope *
q_envelope(struct q_loop *l, uint32_t i)
{
	return (struct q_envelope *)(void *)(l->envelopes.p + (size_t)i * sizeof(struct q_envelope));
}

/* table.c: messages by id; putting in and taking out. */
void q_table_init(struct q_loop *);
void q_table_end(struct q_loop *);
uint32_t q_id_find(struct q_loop *, uint32_t id);
bool q_id_has(struct q_loop *, uint32_t id, uint32_t message);
uint32_t q_id_draw(struct q_loop *);
uint32_t q_message_new(struct q_loop *, uint32_t id);
void q_message_forget(struct q_loop *, uint32_t message);	/* never came into the queue */
/* The message is on stable storage: its envelopes are made; state as recorded. */
void q_message_fill(struct q_loop *, uint32_t message, const struct ga_message *);
uint32_t q_local_hash(struct ga_str address);
bool q_nothing_left(const struct ga_message *);		/* every envelope is done */
void q_envelope_finished(struct q_loop *, uint32_t envelope);
void q_first_attempt_ended(struct q_loop *, uint32_t envelope);
void q_message_unload(struct q_loop *, uint32_t message);
void q_state_set(struct q_loop *, uint32_t envelope, enum q_state);

/* heap.c: due times */
void q_heap_put(struct q_loop *, uint32_t envelope, uint64_t due_ms);
void q_heap_take(struct q_loop *, uint32_t envelope);
uint32_t q_heap_due(struct q_loop *, uint64_t now_ms);		/* taken out; 0: none */
void q_heap_arm(struct q_loop *);

/* schedule.c */
uint64_t q_wall_ms(struct q_loop *);
void q_wall_init(struct q_loop *);
uint64_t q_curve_ms(unsigned attempts);
/* Wait until the next attempt after `attempts` of them, and when its life ends. */
uint64_t q_next_wait_ms(struct q_loop *, const struct ga_settings *, unsigned attempts,
    uint64_t accepted_ms);
uint64_t q_lifetime_ms(const struct ga_settings *);

/* lane.c */
void q_lane_put(struct q_loop *, uint32_t envelope);
void q_lane_put_back(struct q_loop *, uint32_t envelope);
void q_lane_run(struct q_loop *, struct q_lane *);
void q_lane_returned(struct q_loop *, struct q_lane *);
struct q_lane *q_lane_of(struct q_loop *, uint32_t envelope);
void q_lane_run_message(struct q_loop *, uint32_t message);
/* The limit of connections where it goes, 0: none. */
void q_lane_limit(struct q_lane *, uint64_t connections);
void q_lanes_end(struct q_loop *);

/* attempt.c */
void q_attempt_start(struct q_loop *, struct q_lane *, uint32_t envelope);
uint32_t q_send_key(struct ga_str send_id);
/* Of the recipient's address: the same in each message to it. */
uint64_t q_address_key(struct ga_str domain, uint32_t local);
/* Its message with its recipient goes into its ticket, if the spool has them, then go on. */
void q_attempt_read(struct q_attempt *, void (*have_read)(struct q_attempt *));
bool q_attempt_has_recipient(const struct q_attempt *);
void q_attempts_stop(struct q_loop *);
void q_attempts_end(struct q_loop *);

/* tell.c: attempts that no connection was made for */
/* Modules are told of what its ticket says, then it goes on; at once when nobody listens. */
void q_tell(struct q_attempt *, void (*then)(struct q_attempt *));
void q_tell_stopping(struct q_attempt *);	/* while it was read */

/* kept.c: attempts that limits keep from starting */
void q_kept_limit(uint64_t ms);			/* connmaxout_after */
void q_kept_start(struct q_loop *);
void q_kept_reloaded(struct q_loop *);
/* A ticket came home untouched: was it kept for so long that it is to be told of? */
bool q_kept_too_long(const struct q_attempt *);

/* gone.c: after a reload, mail of VirtualMTAs that are no more; around a look at all */
void q_gone_begin(struct q_loop *);
void q_gone_count(struct q_loop *, uint32_t envelope);
void q_gone_end(struct q_loop *);

/* pause.c */
enum q_paused { Q_GOES, Q_DEFERRED, Q_DEFERRED_BY_FROM, Q_HELD_BACK, Q_DUMPED };
/* What pauses look at: of the message, and where it goes. */
struct q_pausable {
	struct ga_str sender, from, send, virtual_mta;	/* domains of MAIL FROM, of the From field */
	const struct ga_route *route;
	uint64_t now_ms;				/* wall clock */
};
uint32_t q_pauses(void);
/* until_ms: HELD_BACK: the wall clock at its end; 0: none. */
enum q_paused q_pause_meets(const struct q_pausable *, uint64_t *until_ms);
void q_pause(struct ga_worker *, const struct ga_pause *);
/* The one of that kind, name, domain and scope; false: there is none. */
bool q_resume(struct ga_worker *, const struct ga_pause *);
void q_pause_kept(struct q_loop *, struct ga_str key, struct ga_str value);
bool q_pauses_told(void);			/* the spool has told of all */
void q_pauses_recovered(void);		/* a loop has heard of all */
/* A fact for each that it meets. */
void q_pause_explain(const struct q_pausable *, bool holds, struct json_object *facts);
const char *q_pause_kind(enum ga_pause_kind);
/* Under a lock: fn must not come back here. */
void q_pauses_each(void (*fn)(const struct ga_pause *, uint64_t since_ms, void *arg), void *arg);
void q_pauses_init(struct ga_inst *);
void q_pauses_end(void);

/* explain.c */
void q_explain(struct ga_queue_question *);
void q_explains_end(void);
/* control.c: commands of the control socket about pauses */
void q_control_init(struct ga_inst *);

/* notify.c: the sender is told */
/* In state Q_ENDED, or marked Q_ENV_DELAYED. */
void q_notify(struct q_loop *, uint32_t envelope, enum ga_report_kind);
/* It was deferred, and goes back to wait: its delay may have to be told. */
void q_delayed(struct q_loop *, uint32_t envelope, const struct ga_settings *, uint64_t expires_ms);
void q_notices_start(struct q_loop *);
void q_notices_drain(struct q_loop *);
void q_notices_end(struct q_loop *);

/* queue.c */
bool q_memory_half_full(void);
#define Q_LOOK_SLICE 1000		/* envelopes */
void q_look_again(struct q_loop *);	/* at all that waits, in slices */
void q_message_schedule(struct q_loop *, uint32_t message, const struct ga_message *from, bool hold);

/* intake.c */
extern const struct ga_intake q_intake;
void q_submits_stop(struct q_loop *);
void q_submits_end(struct q_loop *);
/* recover.c */
void q_recover(struct q_loop *);
/* report.c */
void q_report_init(struct ga_inst *);
void q_stats(struct ga_queue_stats *);

#endif
