/*
 * delivery.h - tickets, groups and results: services "throttle" and "delivery".
 * Level strict.
 *
 * The queue makes a ticket for an envelope that is due and gives it to the
 * throttle, which passes it to the group's home loop.  The ticket comes back to
 * the queue's loop exactly once, with one result.  On the group's loop the
 * throttle keeps tickets in lanes (recipient domain x sender domain), serves the
 * lanes round-robin and holds the limits; delivery (smtp_client) owns the
 * connections and *pulls* batches: tickets of one message and one route.
 *
 *	queue ──enqueue──▶ throttle ──open/offer──▶ delivery
 *	  ▲                   ▲  ◀── next, closed ─────┘
 *	  └────── ticket_done (posted home) ──────────┘
 */
#ifndef GREENARROW_SERVICE_DELIVERY_H
#define GREENARROW_SERVICE_DELIVERY_H

#include <greenarrow/service/explain.h>
#include <greenarrow/service/route.h>

GA_BEGIN

#define GA_THROTTLE_SERVICE "throttle"
#define GA_THROTTLE_VERSION 2
#define GA_DELIVERY_SERVICE "delivery"
#define GA_DELIVERY_VERSION 3

enum ga_result {
	GA_RESULT_NONE = 0,
	GA_RESULT_SUCCESS,
	GA_RESULT_DEFERRAL,
	GA_RESULT_FAILURE,
	GA_RESULT_FAILURE_TOOLONG,	/* made by the queue of a last deferral */
	GA_RESULT_CONNMAXOUT,		/* a throttle kept the attempt from starting */
	GA_RESULT_RECALLED		/* handed back untouched: not an attempt */
};

struct ga_ticket {
	struct ga_post post;		/* travels: to the group's loop, then home */
	struct ga_ticket *next;		/* the holder's list */
	struct ga_worker *home;		/* the queue's loop */
	struct ga_route *route;		/* one reference, the ticket's */
	struct ga_message *message;	/* one reference; NULL: read it by seq first */
	uint64_t seq;			/* of the message, in the spool */
	uint64_t envelope_id;
	uint32_t envelope;		/* index in the message */
	uint32_t attempts;		/* before this one */
	uint32_t assigned_mta_id;	/* number of the VirtualMTA that the message named */
	uint64_t since_ms, expires_ms;	/* monotonic: it was enqueued, or recalled after it
					   had started; its lifetime ends */
	uint32_t sender_key;		/* hash of the sender's domain: fairness */
	uint32_t send_key;		/* hash of the SendID, 0: it has none; fairness */
	uint32_t flags;			/* enum ga_ticket_flag */
	uint32_t arrived;		/* private to the throttle */
	void *holder;			/* private to whoever holds it */

	/* result, filled by who ends the attempt */
	enum ga_result result;
	unsigned code;			/* SMTP reply, 0 = none */
	bool recorded;			/* success: the spool's DONE is durable already */
	bool relayed;			/* success: the sender is to be told, and the host
					   does not do it; on record as GA_ENV_RELAYED */
	bool network;			/* failed before any reply: connect, TLS, timeout */
	uint8_t stage;			/* enum ga_attempt_stage: how far it had come */
	char enhanced[12];
	char *text;			/* malloc'd, one reply, LF between lines; the queue frees it */
	char *mx;			/* malloc'd, the host that said it; NULL: none did */
	void (*done)(struct ga_worker *home, struct ga_ticket *);
};
enum ga_ticket_flag {
	GA_TICKET_FIRST = 1, GA_TICKET_LAST_CHANCE = 2, GA_TICKET_BOUNCE = 4,
	GA_TICKET_REPORT = 8,		/* a success is reported, asked for or not */
	GA_TICKET_KEPT_TOLD = 16	/* that limits keep it from starting has been told */
};

static inline void
ga_ticket_home_(struct ga_worker *home, struct ga_post *post)
{
	struct ga_ticket *t = GA_CONTAINER(post, struct ga_ticket, post);

	t->done(home, t);
}
/* End a ticket: result fields are set; posts it home.  The caller forgets it. */
static inline void
ga_ticket_end(struct ga_ticket *t)
{
	t->next = NULL;
	t->post.fn = ga_ticket_home_;
	ga_loop_post(t->home, &t->post);
}

static inline enum ga_attempt_status
ga_ticket_status(const struct ga_ticket *t)
{
	switch (t->result) {
	case GA_RESULT_SUCCESS: return GA_STATUS_SUCCESS;
	case GA_RESULT_FAILURE: return GA_STATUS_FAILURE;
	case GA_RESULT_FAILURE_TOOLONG: return GA_STATUS_FAILURE_TOOLONG;
	case GA_RESULT_CONNMAXOUT: return GA_STATUS_CONNMAXOUT;
	case GA_RESULT_NONE:
	case GA_RESULT_DEFERRAL:
	case GA_RESULT_RECALLED:
		break;
	}
	return (t->flags & GA_TICKET_LAST_CHANCE) != 0 ? GA_STATUS_FAILURE_TOOLONG : GA_STATUS_DEFERRAL;
}

static inline enum ga_outcome
ga_status_outcome(enum ga_attempt_status status)
{
	switch (status) {
	case GA_STATUS_SUCCESS: return GA_DELIVERED;
	case GA_STATUS_FAILURE:
	case GA_STATUS_FAILURE_TOOLONG: return GA_FAILED;
	case GA_STATUS_DEFERRAL:
	case GA_STATUS_CONNMAXOUT: break;
	}
	return GA_DEFERRED;
}

/* What ticket, route and message (NULL: not read) say of an attempt that has its result; who had
 * a connection adds what it did.  The event borrows from all three. */
GA_EXPORT struct ga_ev_attempt ga_ticket_attempt(const struct ga_ticket *, const struct ga_message *);

/* A batch: tickets of one message on one route, linked by next; 1..limit of them.
 * What the throttle makes by itself (offer, open) has GA_BATCH_MAX at most. */
#define GA_BATCH_MAX 100
struct ga_batch {
	struct ga_ticket *first;
	unsigned n;
};

/* May this connection (arg) serve that route?  Called by next(), on the loop. */
typedef bool ga_batch_fits_fn(const struct ga_route *, void *arg);

struct ga_group_info;
struct ga_delivery_stats;

/* A question of `greenarrow explain` to throttle or delivery; the asker's until cb. */
struct ga_group_question {
	struct ga_post post;		/* private to the service while it has the question */
	struct ga_worker *asker;
	struct ga_route *route;		/* the asker's reference: its group_key and settings */
	struct json_object *facts;	/* the asker's reference; see explain.h */
	void (*cb)(struct ga_worker *asker, struct ga_group_question *);
	void *arg;
	void *private_;
};

struct ga_throttle {
	uint32_t size, version;
	/* queue → throttle; any worker loop.  The throttle owns the ticket until it
	 * ends it or gives it to delivery.  What is enqueued in one go arrives in one
	 * go: recipients of one message can share a transaction. */
	void (*enqueue)(struct ga_worker *, struct ga_ticket *);
	/* Hand back (RECALLED) what waits, is of this home and matches; in-flight
	 * tickets are left alone.  match runs on the groups' loops and may look only at
	 * the ticket and at what arg points to for ever; NULL: all.  Asynchronous; to be
	 * called on home. */
	void (*recall)(struct ga_worker *home, bool (*match)(const struct ga_ticket *, void *),
	    void *arg);
	/* delivery → throttle, on the group's loop.  next: the next batch this
	 * connection may serve, its lane in turn; n 0 = none now.  limit: recipients. */
	struct ga_batch (*next)(struct ga_group *, unsigned limit, ga_batch_fits_fn *, void *arg);
	/* One connection of the group is gone (its slot is free); one attempt of n
	 * tickets has ended (counters). */
	void (*closed)(struct ga_group *);
	void (*ended)(struct ga_group *, const struct ga_ticket *, unsigned n);
	/* A route with ->group set goes away.  Any thread. */
	void (*group_unref)(struct ga_group *);
	/* The limit in force now (0 = unlimited) and the key. */
	unsigned (*max_connections)(const struct ga_group *);
	struct ga_str (*key)(const struct ga_group *);
	/* For reports; any worker loop or main; fn runs on each group's loop, end on
	 * the asker's loop after all. */
	void (*each_group)(struct ga_worker *asker,
	    void (*fn)(struct ga_group *, const struct ga_group_info *, void *arg),
	    void (*end)(struct ga_worker *, void *arg), void *arg);
	/* How many connections a group may have where these settings hold, as written
	 * (0 = unlimited).  Any thread. */
	uint64_t (*limit)(const struct ga_settings *);
	/* From here on: version 2. */
	/* The group of that key, if there is one, is in backoff for ms (0: as long as its
	 * throttle_program or the default says); reason: one line, copied.  On the group's
	 * loop, within one of its events. */
	void (*begin_backoff)(struct ga_worker *, struct ga_str key, const char *reason, uint64_t ms);
	/* What holds or does not hold the mail of that route in its group: limits as
	 * written and in force, what is used, the rate, the backoff.  Any loop. */
	void (*explain)(struct ga_group_question *);
};
struct ga_group_info {
	struct ga_str key;
	unsigned connections, max_connections, saved;	/* open, those saved included; 0: no limit */
	unsigned waiting, in_flight;
};

struct ga_delivery {
	uint32_t size, version;
	/* throttle → delivery, on the group's loop.
	 * offer: a saved connection of the group takes the batch: true.
	 * open: open a new connection for the batch; the slot is taken already and is
	 *       given back by closed().  Delivery owns the batch's tickets from here.
	 * close_idle: close one saved connection (of that group; NULL: any of this
	 *       loop) to make room; false = none. */
	bool (*offer)(struct ga_group *, struct ga_batch);
	void (*open)(struct ga_group *, struct ga_worker *, struct ga_batch);
	bool (*close_idle)(struct ga_group *, struct ga_worker *);
	/* Counts, any thread. */
	void (*stats)(struct ga_delivery_stats *);
	/* From here on: version 2.  Who uses the group's connections, and for what; the group
	 * is known by the route's group_key.  Any loop. */
	void (*explain)(struct ga_group_question *);
	/* From here on: version 3.  How many connections of the group are saved: open, and
	 * waiting for another transaction.  On the group's loop. */
	unsigned (*saved)(const struct ga_group *);
};
struct ga_delivery_stats {
	uint64_t connections;			/* open now, saved included */
	uint64_t saved, connecting;
	uint64_t opened_total, transactions_total, recipients_total;
	uint64_t success_total, deferral_total, failure_total;
};

GA_END

#endif
